// The list of records: lines that open in place, repeats that unfold, a selection by keyboard.

import { el } from "./dom.js";
import { levelOf } from "./levels.js";
import { cells, gridOf, headingOf } from "./record-line.js";
import { counted, oneLine } from "./text.js";
import { offsetOf } from "./times.js";
import { VirtualList } from "./virtual-list.js";

export class RecordList {
  #selected = null;

  /**
   * `detailOf(record)` makes what an open record shows. `onView(first, last)` is told what is in
   * view, `onOpen` that a record was opened.
   */
  constructor(view, scroller, header, { detailOf, onView, onOpen }) {
    this.view = view;
    this.scroller = scroller;
    this.header = header;
    this.detailOf = detailOf;
    this.onOpen = onOpen;
    this.list = new VirtualList(scroller, {
      render: (row) => this.#element(row),
      isVariable: (row) => view.state.wrap || (row.record && this.isOpen(row.record.id)),
      usualHeight: () => this.usualHeight,
      onView: (first, last) => {
        scroller.setAttribute("role", this.rows.length ? "feed" : "group"); // a feed has articles
        onView(first, last);
      },
    });
    this.#measure();
    this.#showColumns();
    matchMedia("(max-width: 700px)").addEventListener("change", () => this.#restyle());
    view.on(["columns", "wrap", "extras", "tz"], () => this.#restyle());
    view.on(["open"], () => this.#openChanged());
    this.wereOpen = new Set(view.state.open);
  }

  get rows() {
    return this.list.rows;
  }

  isOpen(id) {
    return this.view.state.open.includes(id);
  }

  /** Opens or closes a record. */
  toggle(record) {
    const { open } = this.view.state;
    const isOpening = !open.includes(record.id);
    this.view.change({ open: isOpening ? [...open, record.id] : open.filter((id) => id !== record.id) });
    if (isOpening) this.onOpen?.();
  }

  setRows(rows) {
    if (!rows.some((row) => row.key === this.#selected)) this.#selected = null;
    this.list.setRows(rows);
  }

  /** Selects the row that is `by` rows further, and shows it. */
  move(by) {
    const { rows } = this;
    if (!rows.length) return;
    const at = rows.findIndex((row) => row.key === this.#selected);
    const start = at < 0 ? this.list.firstInView - (by > 0 ? 1 : 0) : at;
    this.select(Math.max(0, Math.min(rows.length - 1, start + by)));
  }

  select(index, { focus = true } = {}) {
    const before = this.rows.find((row) => row.key === this.#selected);
    this.#selected = this.rows[index].key;
    if (before) this.#mark(before);
    this.list.reveal(index);
    this.#mark(this.rows[index]);
    if (focus) this.list.elementOf(this.rows[index])?.focus({ preventScroll: true });
  }

  /** Opens or closes the selected record. */
  toggleSelected() {
    const row = this.rows.find((one) => one.key === this.#selected);
    if (row?.record) this.toggle(row.record);
  }

  #mark(row) {
    const element = this.list.elementOf(row);
    if (!element) return;
    if (row.key === this.#selected) element.setAttribute("aria-current", "true");
    else element.removeAttribute("aria-current");
  }

  #element(row) {
    row.isChanged = false;
    if (!row.record) return el("div", { class: "gap-row", role: "note" }, row.text);
    const { record } = row;
    const isOpen = this.isOpen(record.id);
    const { kind } = levelOf(record.levelno, record.levelname);
    const element = el("article", {
      class: `record level-${kind}${isOpen ? " open" : ""}${row.isApart ? " apart" : ""}`,
      tabindex: "-1",
      "aria-setsize": "-1",
      "aria-label": `${record.levelname ?? "no level"}: ${oneLine(record.message, 80)}`,
      "aria-current": row.key === this.#selected ? "true" : null,
      data: { id: record.id },
    });
    const line = el(
      "div",
      { class: "line", on: { click: (event) => this.#clicked(event, row) } },
      el(
        "button",
        {
          class: "disclosure",
          type: "button",
          "aria-expanded": String(isOpen),
          "aria-label": isOpen ? "Close record" : "Open record",
        },
        el("span", { "aria-hidden": "true" }, "›"),
      ),
      cells(record, this.view.state),
      this.#repeats(row),
    );
    element.append(line);
    if (isOpen) element.append((row.detail ??= this.detailOf(record)));
    return element;
  }

  #repeats(row) {
    if (!row.repeats?.length) return null;
    return el(
      "button",
      {
        class: "repeats",
        type: "button",
        "aria-label": `Unfold ${counted(row.repeats.length + 1, "similar record")}`,
        title: "Similar records, one after the other: show each",
        on: {
          click: (event) => {
            event.stopPropagation();
            this.#unfold(row);
          },
        },
      },
      `×${row.repeats.length + 1}`,
    );
  }

  #unfold(row) {
    const rows = [row.record, ...row.repeats].map((record) => ({
      key: record.id,
      record,
      repeats: [],
      pattern: null,
      page: row.page,
    }));
    this.list.replace(this.rows.indexOf(row), rows);
  }

  #clicked(event, row) {
    const isButton = event.target.closest("button");
    if (!isButton && String(getSelection())) return; // the user selects text
    this.select(this.rows.indexOf(row), { focus: !isButton });
    this.toggle(row.record);
    if (isButton) this.list.elementOf(row)?.querySelector(".disclosure").focus({ preventScroll: true });
  }

  #openChanged() {
    const now = new Set(this.view.state.open);
    for (const row of [...this.rows]) {
      if (!row.record || now.has(row.record.id) === this.wereOpen.has(row.record.id)) continue;
      if (!now.has(row.record.id)) row.detail = row.height = undefined;
      const hadFocus = this.list.elementOf(row)?.contains(document.activeElement);
      this.list.refresh(row);
      if (hadFocus) this.list.elementOf(row)?.focus({ preventScroll: true });
    }
    this.wereOpen = now;
  }

  #measure() {
    this.usualHeight = parseFloat(getComputedStyle(this.scroller).getPropertyValue("--row-height"));
  }

  #restyle() {
    this.#measure();
    this.#showColumns();
    for (const row of this.rows) row.height = undefined;
    this.list.relayout({ anew: true });
  }

  #showColumns() {
    const { columns, wrap, tz } = this.view.state;
    this.scroller.parentElement.style.setProperty("--columns", gridOf(columns));
    this.scroller.classList.toggle("wrapped", wrap);
    this.header.replaceChildren(
      ...columns.map((column) =>
        el("span", { class: "cell" }, column === "time" ? `Time (${offsetOf(tz)})` : headingOf(column)),
      ),
    );
  }
}
