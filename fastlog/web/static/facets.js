// Facets: the values of a field with their counts. A click includes a value, another excludes it.

import { LONGEST_VALUE, Question } from "./api.js";
import { el } from "./dom.js";
import { levelOf, levelTerm, rank } from "./levels.js";
import { loggerTree } from "./logger-tree.js";
import { chosen, quoted, without } from "./query-text.js";
import { cut, grouped, textOf, visible } from "./text.js";

const USUAL = ["level", "logger", "host", "process"];
const TOP = 12,
  LOGGERS = 500;

export class Facets {
  #panels = new Map();
  #fields = new Question();

  /** `filter(field, value, isExcluded)` edits the query. */
  constructor(view, place, chooser, filter) {
    Object.assign(this, { view, place, chooser, filter });
    chooser.addEventListener("change", () => {
      if (chooser.value) view.change({ facets: [...view.state.facets, chooser.value] });
      chooser.value = "";
    });
    view.on(["facets"], () => this.load());
  }

  /** Asks anew for all counts; only those of open panels. */
  load() {
    const fields = [...USUAL, ...this.view.state.facets];
    for (const field of [...this.#panels.keys()]) if (!fields.includes(field)) this.#close(field);
    for (const field of fields) {
      if (!this.#panels.has(field)) this.#open(field);
      this.#panels.get(field).load();
    }
    this.#offerFields(fields);
  }

  #open(field) {
    const panel = new Facet(
      this.view,
      field,
      this.filter,
      USUAL.includes(field)
        ? null
        : () => {
            this.view.change({ facets: this.view.state.facets.filter((one) => one !== field) });
          },
    );
    this.#panels.set(field, panel);
    this.place.append(panel.place);
  }

  #close(field) {
    this.#panels.get(field).stop();
    this.#panels.get(field).place.remove();
    this.#panels.delete(field);
  }

  async #offerFields(shown) {
    try {
      const answer = await this.#fields.ask("/fields", this.view.question);
      if (!answer) return;
      const names = answer.fields
        .filter(({ kind }) => kind !== "time")
        .map(({ name }) => name)
        .filter((name) => !shown.includes(name));
      this.chooser.replaceChildren(
        el("option", { value: "" }, "Add a field …"),
        ...names.map((name) => el("option", { value: name }, visible(name))),
      );
      this.fields = answer.fields;
      this.onFields?.(answer.fields);
    } catch {
      // The facets that are there still work; a wrong query is reported beside its text.
    }
  }
}

class Facet {
  #question = new Question();
  #isPressed = false;
  #waiting = null;

  constructor(view, field, filter, onRemove) {
    Object.assign(this, { view, field, filter });
    this.list = el("div", { class: "facet-values", on: { pointerdown: () => this.#press() } });
    this.element = el(
      "details",
      {
        class: "facet",
        open: field === "level" || field === "logger" || Boolean(onRemove),
        on: { toggle: () => this.load() },
      },
      el("summary", {}, visible(field)),
      this.list,
    );
    this.place = el(
      "div",
      { class: "facet-place" },
      this.element,
      onRemove &&
        el(
          "button",
          { type: "button", class: "remove", "aria-label": `Remove ${field}`, on: { click: onRemove } },
          "×",
        ),
    );
  }

  stop() {
    this.#question.stop();
  }

  async load() {
    if (!this.element.open) return this.stop();
    const { q, tz } = this.view.state;
    // Its own terms do not narrow a facet: the other values stay, to be chosen beside the first.
    const others = this.field === "level" ? without(q, "levelname") : q;
    const query = this.view.countQuery(without(others, this.field));
    const isTree = this.field === "logger";
    try {
      const answer = await this.#question.ask("/counts", {
        q: query,
        tz,
        by: this.field,
        top: isTree ? LOGGERS : TOP,
      });
      if (answer) this.#show(answer);
    } catch (error) {
      if (error.status !== 400) this.list.replaceChildren(el("p", { class: "error-text" }, error.message));
    }
  }

  /** Leaves the values in place until the pointer is up: a click on a replaced button is lost. */
  #press() {
    const release = () => {
      removeEventListener("pointerup", release);
      removeEventListener("pointercancel", release);
      setTimeout(() => {
        this.#isPressed = false;
        if (this.#waiting) this.#show(this.#waiting);
      }); // the click comes first
    };
    this.#isPressed = true;
    addEventListener("pointerup", release);
    addEventListener("pointercancel", release);
  }

  #show(answer) {
    this.#waiting = this.#isPressed ? answer : null;
    if (this.#isPressed) return;
    const groups = answer.groups.map(({ values: [value], records }) => ({ value, records }));
    if (this.field === "level") groups.sort((a, b) => rank(a.value) - rank(b.value));
    const most = Math.max(1, ...groups.map(({ records }) => records));
    const make = (group, name) => this.#value(group, name, most);
    const content =
      this.field === "logger"
        ? loggerTree(groups, make, this.list)
        : el(
            "ul",
            {},
            groups.map((group) => el("li", {}, make(group, null))),
          );
    const more = answer.other_groups
      ? el(
          "p",
          { class: "quiet" },
          `${grouped(answer.other_groups)} more values, ${grouped(answer.other_records)} records`,
        )
      : null;
    const part = answer.complete
      ? null
      : el("p", { class: "quiet" }, "Counted in a part of the store: at least");
    const focused = document.activeElement?.dataset.value;
    const hadFocus = this.list.contains(document.activeElement);
    this.list.replaceChildren(
      ...[part, groups.length ? content : el("p", { class: "quiet" }, "none"), more].filter(Boolean),
    );
    if (hadFocus)
      [...this.list.querySelectorAll("button")].find((one) => one.dataset.value === focused)?.focus();
  }

  #value({ value, records }, name, most) {
    const [field, asked] =
      this.field === "level" && value !== null ? levelTerm(String(value)) : [this.field, value];
    const { included, excluded } = chosen(this.view.state.q, field);
    const written = value === null ? null : quoted(asked);
    const isIncluded = included.has(written);
    const isExcluded = excluded.has(written);
    const shown = name ?? (value === null ? "(none)" : visible(cut(textOf(value), 60)) || "(empty)");
    const isTooLong = typeof value === "string" && value.length > LONGEST_VALUE;
    const bar = el("span", { class: "facet-bar", "aria-hidden": "true" });
    bar.style.width = `${(records / most) * 100}%`;
    const level = this.field === "level" ? levelOf(null, value) : null;
    return el(
      "div",
      { class: `facet-value${isIncluded ? " included" : ""}${isExcluded ? " excluded" : ""}` },
      el(
        "button",
        {
          type: "button",
          class: `include${level ? ` level-${level.kind}` : ""}`,
          "aria-pressed": String(isIncluded),
          data: { value: `+${value}` },
          disabled: isTooLong,
          title: isTooLong ? "Too long to search for: search for a part of it" : `Include ${shown}`,
          "aria-label": `Include ${shown}, ${grouped(records)} records`,
          on: { click: (event) => this.filter(this.field, value, event.altKey) },
        },
        bar,
        el(
          "span",
          { class: "facet-name" },
          level ? el("span", { class: "sign", "aria-hidden": "true" }, level.sign) : null,
          shown,
        ),
        el("span", { class: "facet-count" }, grouped(records)),
      ),
      el(
        "button",
        {
          type: "button",
          class: "exclude",
          "aria-pressed": String(isExcluded),
          disabled: isTooLong,
          "aria-label": `Exclude ${shown}`,
          title: `Exclude ${shown}`,
          data: { value: `-${value}` },
          on: { click: () => this.filter(this.field, value, true) },
        },
        "−",
      ),
    );
  }
}
