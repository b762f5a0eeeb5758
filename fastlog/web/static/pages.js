// The pages of a search. All that were read are known; the rows of those around the view are in the
// list. The others are asked for again when the user scrolls back to them.

// So many records are in the list at most, unless the rows around the view have more.
const HELD = 10_000;
// So many rows are ready before and after those in view.
export const AHEAD = 100;

export class Pages {
  // From the first to the last, each with: `begin`, its cursor; `skip`, how many records after it
  // belong to the last row of the page before; `records`, how many it has; and if it was taken out
  // of the list, the `height` and `count` of its rows, and `apart`, the linked ones among them.
  #known = [];
  // Those from #first to before #end are in the list.
  #first = 0;
  #end = 0;

  /** `list` is the VirtualList that gets the rows. */
  constructor(list) {
    this.list = list;
  }

  /** The number of records of all pages. */
  get records() {
    return recordsOf(this.#known);
  }

  /** Forgets all pages. */
  clear() {
    this.#known = [];
    this.#first = this.#end = 0;
  }

  /** Begins with a first page, whose rows are in the list. */
  begin(begin, records, rows) {
    const page = { begin, skip: 0, records };
    this.#known = records ? [page] : [];
    this.#first = 0;
    this.#end = this.#known.length;
    ofPage(rows, page);
  }

  /** Adds a page after the last one: `joined` of its records are in the last row before its rows. */
  add(begin, records, rows, joined = 0) {
    const last = this.#known.at(-1);
    if (last) last.records += joined;
    const page = { begin, skip: joined, records: records - joined };
    if (page.records) this.#end = this.#known.push(page);
    this.list.append(ofPage(rows, page));
    this.#trim();
  }

  /** Adds a page before the first one. What is in view stays where it is. */
  addFirst(begin, records, rows) {
    const page = { begin, skip: 0, records };
    this.#known.unshift(page);
    this.#end += 1;
    if (this.#first === 0) {
      this.list.prepend(ofPage(rows, page));
      this.#trim();
    } else {
      Object.assign(page, { height: rows.length * this.list.usualHeight(), count: rows.length, apart: [] });
      this.#first += 1;
      this.#setRoom();
      this.list.scroller.scrollTop += page.height;
    }
  }

  /** Returns a page that is needed for the view and not in the list; null if there is none. */
  wanted() {
    const { list } = this;
    const { above, below } = list.reach;
    if (above && this.#first) return this.#nearest(list.top);
    if (below && this.#end < this.#known.length) return this.#nearest(list.top + list.scroller.clientHeight);
    const [first, last] = list.inView;
    if (this.#first && first < AHEAD) return this.#known[this.#first - 1];
    if (this.#end < this.#known.length && list.rows.length - last < AHEAD) return this.#known[this.#end];
    return null;
  }

  /** Puts the rows of a wanted page into the list. */
  put(page, rows) {
    const at = this.#known.indexOf(page);
    if (at < this.#first - 1 || at > this.#end) this.#jump(at);
    const { height, count, apart } = page;
    if (at < this.#first) {
      this.#first = at;
      this.list.putFirst(ofPage([...apart, ...rows], page), height, count);
    } else {
      this.#end = at + 1;
      this.list.putLast(ofPage([...apart, ...rows], page), height);
    }
    this.#trim();
  }

  /** Returns the page at a place: pixels from the first row in the list. */
  #nearest(top) {
    if (top < 0) {
      let at = this.#first - 1;
      for (let y = -this.#known[at].height; at > 0 && y > top; y -= this.#known[at].height) at -= 1;
      return this.#known[at];
    }
    let at = this.#end;
    for (let y = this.list.heldHeight + this.#known[at].height; y < top; y += this.#known[at].height) {
      if (at === this.#known.length - 1) break;
      at += 1;
    }
    return this.#known[at];
  }

  /** Takes all rows out, and makes the list begin at a page. */
  #jump(at) {
    while (this.#end > this.#first) this.#takeLast();
    this.#first = this.#end = at;
    this.#setRoom();
  }

  /** Takes pages out that are far from the view, while there are too many records. */
  #trim() {
    while (this.#end - this.#first > 1 && recordsOf(this.#known.slice(this.#first, this.#end)) > HELD) {
      const { list } = this;
      const [first, last] = list.inView;
      if (first > list.rows.length - last) {
        if (this.#countFirst() > first - AHEAD) return;
        this.#takeFirst();
      } else {
        if (this.#beginLast() < last + AHEAD) return;
        this.#takeLast();
      }
    }
  }

  #takeFirst() {
    const count = this.#countFirst();
    this.#take(this.#known[this.#first], this.list.rows.slice(0, count), () => this.list.takeFirst(count));
    this.#first += 1;
  }

  #takeLast() {
    const begin = this.#beginLast();
    const rows = this.list.rows.slice(begin);
    this.#end -= 1;
    this.#take(this.#known[this.#end], rows, () => this.list.takeLast(rows.length));
  }

  #take(page, rows, take) {
    page.apart = rows.filter((row) => row.isApart);
    page.count = rows.length;
    page.height = take();
  }

  /** Returns the number of rows before the second page in the list. */
  #countFirst() {
    const second = this.#known[this.#first + 1];
    return this.list.rows.findIndex((row) => row.page === second);
  }

  /** Returns the index of the first row of the last page in the list. */
  #beginLast() {
    if (this.#end - this.#first === 1) return 0;
    const last = this.#known[this.#end - 1];
    return this.list.rows.findIndex((row) => row.page === last);
  }

  #setRoom() {
    const before = this.#known.slice(0, this.#first);
    const after = this.#known.slice(this.#end);
    const sum = (pages, name) => pages.reduce((total, page) => total + page[name], 0);
    this.list.setRoom({
      above: sum(before, "height"),
      below: sum(after, "height"),
      before: sum(before, "count"),
    });
  }
}

function recordsOf(pages) {
  return pages.reduce((sum, page) => sum + page.records, 0);
}

function ofPage(rows, page) {
  for (const row of rows) row.page = page;
  return rows;
}
