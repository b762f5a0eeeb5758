// A list of any length, of which only the rows in view are in the document.
//
// Rows are objects with a `key`. Most have the usual height; those that `isVariable` names are
// measured. Offsets are sums of heights, computed up to the row that is asked for.

import { el } from "./dom.js";

const OVERSCAN = 8;

export class VirtualList {
  #heights = [];
  #offsets = [0];
  #elements = new Map();
  #frame = 0;
  #isPlacing = false;

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
    this.relayout();
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
    if (anchor) this.scroller.scrollTop = this.#offset(this.rows.indexOf(anchor.row)) + anchor.within;
    this.place();
  }

  /** Returns the element of a row if it is in the document. */
  elementOf(row) {
    return this.#elements.get(row.key)?.element ?? null;
  }

  get isAtEnd() {
    return this.scroller.scrollTop + this.scroller.clientHeight >= this.#total() - 4;
  }

  scrollToEnd() {
    this.#resizeBody();
    this.scroller.scrollTop = this.#total();
    this.place();
  }

  /** Scrolls no further than needed to show a row. */
  reveal(index) {
    const top = this.#offset(index),
      bottom = top + Math.min(this.#heights[index], this.scroller.clientHeight);
    if (top < this.scroller.scrollTop) this.scroller.scrollTop = top;
    else if (bottom > this.scroller.scrollTop + this.scroller.clientHeight) {
      this.scroller.scrollTop = bottom - this.scroller.clientHeight;
    }
    this.place();
  }

  /** Returns the index of the first row in view. */
  get firstInView() {
    return Math.min(this.#indexAt(this.scroller.scrollTop), Math.max(0, this.rows.length - 1));
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
    const top = this.scroller.scrollTop,
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
      element.style.transform = `translateY(${this.#offset(index)}px)`;
      element.setAttribute("aria-posinset", String(index + 1));
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
    const top = this.scroller.scrollTop;
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
    if (wasAtEnd) this.scroller.scrollTop = this.#total();
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
    const top = this.scroller.scrollTop;
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

  #resizeBody() {
    const height = `${this.#total()}px`;
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
