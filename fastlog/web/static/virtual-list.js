// A list of any length, of which only the rows in view are in the document.
//
// Rows are objects with a `key`. Most have the usual height; those that `isVariable` names are
// measured. Offsets are sums of heights, computed up to the row that is asked for.
//
// Rows may be taken out at both ends, and put back later: their room stays, so that the scroll bar
// shows the place in the whole.

import { el } from "./dom.js";

const OVERSCAN = 8;

export class VirtualList {
  #heights = [];
  #offsets = [0];
  #elements = new Map();
  #frame = 0;
  #isPlacing = false;
  // The height of the rows that were taken out before the first and after the last, and how many
  // come before the first.
  #above = 0;
  #below = 0;
  #before = 0;

  /**
   * `scroller` scrolls; `render(row, index)` makes the element of a row; `isVariable(row)` tells
   * whether its height must be measured; `usualHeight()` is that of all others, in pixels.
   * `onView(first, last)` is called after each change of what is in view.
   */
  constructor(scroller, { render, isVariable, usualHeight, onView }) {
    this.rows = [];
    this.scroller = scroller;
    Object.assign(this, { render, isVariable, usualHeight, onView });
    this.body = el("div", { class: "rows" });
    scroller.append(this.body);
    scroller.addEventListener("scroll", () => this.schedule(), { passive: true });
    new ResizeObserver(() => this.relayout()).observe(scroller);
    this.observer = new ResizeObserver((entries) => this.#measured(entries));
  }

  /** Replaces all rows. Elements of rows that stay are kept. */
  setRows(rows) {
    this.rows = rows;
    this.setRoom({ above: 0, below: 0, before: 0 });
    this.relayout();
  }

  /** Sets the height of what is not here above and below the rows; `before` rows come first. */
  setRoom({ above, below, before }) {
    this.#above = above;
    this.#below = below;
    this.#before = before;
    this.#resizeBody();
    this.schedule();
  }

  /** Takes the first rows out, and returns their height. Their room stays. */
  takeFirst(count) {
    const height = this.#offset(count);
    this.rows.splice(0, count);
    this.#heights.splice(0, count);
    this.#invalidate(0);
    this.#above += height;
    this.#before += count;
    this.schedule();
    return height;
  }

  /** Takes the last rows out, and returns their height. Their room stays. */
  takeLast(count) {
    const first = this.rows.length - count;
    const height = this.#total() - this.#offset(first);
    this.rows.splice(first);
    this.#heights.splice(first);
    this.#invalidate(first);
    this.#below += height;
    this.schedule();
    return height;
  }

  /** Puts rows before the first, into the room that `count` rows of a height have left. */
  putFirst(rows, height, count) {
    this.rows.unshift(...rows);
    this.#heights.unshift(...rows.map((row) => this.#expected(row)));
    this.#invalidate(0);
    const change = this.#offset(rows.length) - height;
    const isAbove = this.top >= 0;
    this.#above -= height;
    this.#before -= count;
    this.#resizeBody();
    if (change && isAbove) this.scroller.scrollTop += change;
    this.place();
  }

  /** Puts rows after the last, into the room that others of a height have left. */
  putLast(rows, height) {
    this.#below -= height;
    this.append(rows);
  }

  append(rows) {
    for (const row of rows) {
      this.rows.push(row);
      this.#heights.push(this.#expected(row));
    }
    this.schedule();
  }

  /** Puts rows before the first; what is in view stays where it is. */
  prepend(rows) {
    const isAtTop = this.scroller.scrollTop < 4;
    this.rows = [...rows, ...this.rows];
    this.#heights = [...rows.map((row) => this.#expected(row)), ...this.#heights];
    this.#invalidate(0);
    const added = this.#offset(rows.length);
    this.#resizeBody();
    if (!isAtTop) this.scroller.scrollTop += added;
    this.place();
  }

  /** Removes the first rows, and returns them. */
  dropFirst(count) {
    const removed = this.#offset(count);
    this.#heights.splice(0, count);
    const rows = this.rows.splice(0, count);
    this.#invalidate(0);
    this.scroller.scrollTop -= removed;
    this.schedule();
    return rows;
  }

  /** Puts other rows in the place of one. */
  replace(index, rows) {
    this.rows.splice(index, 1, ...rows);
    this.#heights.splice(index, 1, ...rows.map((row) => this.#expected(row)));
    this.#invalidate(index);
    this.schedule();
  }

  /** Makes the element of a row anew. */
  refresh(row) {
    const index = this.rows.indexOf(row);
    if (index < 0) return;
    this.#remove(row.key);
    this.#heights[index] = this.#expected(row);
    this.#invalidate(index);
    this.place();
  }

  /** Forgets all elements and heights: what rows look like has changed. */
  relayout({ anew = false } = {}) {
    if (anew) for (const key of [...this.#elements.keys()]) this.#remove(key);
    const anchor = this.#anchor();
    this.#heights = this.rows.map((row) => this.#measuredHeight(row) ?? this.#expected(row));
    this.#invalidate(0);
    this.#resizeBody();
    if (anchor)
      this.scroller.scrollTop = this.#above + this.#offset(this.rows.indexOf(anchor.row)) + anchor.within;
    this.place();
  }

  /** Returns the element of a row if it is in the document. */
  elementOf(row) {
    return this.#elements.get(row.key)?.element ?? null;
  }

  get isAtEnd() {
    return this.scroller.scrollTop + this.scroller.clientHeight >= this.#height() - 4;
  }

  scrollToEnd() {
    this.#resizeBody();
    this.scroller.scrollTop = this.#height();
    this.place();
  }

  /** Scrolls no further than needed to show a row. */
  reveal(index) {
    const top = this.#above + this.#offset(index),
      bottom = top + Math.min(this.#heights[index], this.scroller.clientHeight);
    if (top < this.scroller.scrollTop) this.scroller.scrollTop = top;
    else if (bottom > this.scroller.scrollTop + this.scroller.clientHeight) {
      this.scroller.scrollTop = bottom - this.scroller.clientHeight;
    }
    this.place();
  }

  /** Returns the index of the first row in view. */
  get firstInView() {
    return Math.min(this.#indexAt(this.top), Math.max(0, this.rows.length - 1));
  }

  /** Where the view begins, in pixels from the first row; negative if that is below. */
  get top() {
    return this.scroller.scrollTop - this.#above;
  }

  /** The height of the rows that are here. */
  get heldHeight() {
    return this.#total();
  }

  /** The indexes of the first row in view, and of the one after the last. */
  get inView() {
    const { top } = this;
    return [this.#indexAt(top), Math.min(this.rows.length, this.#indexAt(top + this.scroller.clientHeight) + 1)];
  }

  /** How far the view reaches over the rows that are here, into the room of others, in pixels. */
  get reach() {
    const bottom = this.top + this.scroller.clientHeight - this.#total();
    return { above: Math.max(0, -this.top), below: this.#below ? Math.max(0, bottom) : 0 };
  }

  schedule() {
    this.#frame ||= requestAnimationFrame(() => {
      this.#frame = 0;
      this.place();
    });
  }

  /** Puts the rows in view into the document, and takes the others out. */
  place() {
    if (this.#isPlacing) return;
    this.#isPlacing = true;
    this.#resizeBody();
    const { top } = this,
      height = this.scroller.clientHeight;
    const first = Math.max(0, this.#indexAt(top) - OVERSCAN);
    const last = Math.min(this.rows.length, this.#indexAt(top + height) + OVERSCAN + 1);
    const wanted = new Set();
    for (let index = first; index < last; index += 1) wanted.add(this.rows[index].key);
    for (const key of [...this.#elements.keys()]) if (!wanted.has(key)) this.#remove(key);
    const elements = [];
    for (let index = first; index < last; index += 1) elements.push(this.#elementAt(index));
    let before = this.body.firstElementChild;
    for (const [at, element] of elements.entries()) {
      const index = first + at;
      if (element === before) before = before.nextElementSibling;
      else this.body.insertBefore(element, before);
      element.style.transform = `translateY(${this.#above + this.#offset(index)}px)`;
      element.setAttribute("aria-posinset", String(this.#before + index + 1));
    }
    this.#isPlacing = false;
    this.onView?.(first, last);
  }

  #elementAt(index) {
    const row = this.rows[index];
    let known = this.#elements.get(row.key);
    if (known && known.row !== row) {
      this.#remove(row.key);
      known = undefined;
    }
    if (known) return known.element;
    const element = this.render(row, index);
    element.virtualRow = row;
    this.#elements.set(row.key, { element, row });
    if (this.isVariable(row)) this.observer.observe(element);
    return element;
  }

  #remove(key) {
    const known = this.#elements.get(key);
    if (!known) return;
    this.observer.unobserve(known.element);
    known.element.remove();
    this.#elements.delete(key);
  }

  #measured(entries) {
    let least = Infinity,
      above = 0;
    const { top } = this;
    for (const { target } of entries) {
      const row = target.virtualRow,
        index = this.rows.indexOf(row),
        height = target.offsetHeight;
      if (index < 0 || !height || !target.isConnected || height === this.#heights[index]) continue;
      if (this.#offset(index) + this.#heights[index] <= top) above += height - this.#heights[index];
      this.#heights[index] = height;
      row.height = height;
      least = Math.min(least, index);
    }
    if (least === Infinity) return;
    const wasAtEnd = this.isAtEnd && this.sticksToEnd;
    this.#invalidate(least);
    this.#resizeBody();
    if (wasAtEnd) this.scroller.scrollTop = this.#height();
    else if (above) this.scroller.scrollTop += above;
    this.place();
  }

  #measuredHeight(row) {
    if (!this.isVariable(row)) return null;
    return this.#elements.get(row.key)?.element.offsetHeight || null;
  }

  #expected(row) {
    return (this.isVariable(row) && row.height) || this.usualHeight();
  }

  #anchor() {
    const { top } = this;
    if (top < 4 || !this.#heights.length || this.#heights.length !== this.rows.length) return null;
    const index = this.#indexAt(top);
    return index < this.rows.length ? { row: this.rows[index], within: top - this.#offset(index) } : null;
  }

  #invalidate(index) {
    this.#offsets.length = Math.min(this.#offsets.length, index + 1);
  }

  #offset(index) {
    for (let at = this.#offsets.length; at <= index; at += 1) {
      this.#offsets.push(this.#offsets[at - 1] + this.#heights[at - 1]);
    }
    return this.#offsets[index];
  }

  #total() {
    return this.#offset(this.#heights.length);
  }

  /** The height of all, with what is not here. */
  #height() {
    return this.#above + this.#total() + this.#below;
  }

  #resizeBody() {
    const height = `${this.#height()}px`;
    if (this.body.style.height !== height) this.body.style.height = height;
  }

  #indexAt(position) {
    this.#total();
    let low = 0,
      high = this.rows.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (this.#offsets[middle + 1] <= position) low = middle + 1;
      else high = middle;
    }
    return low;
  }
}
