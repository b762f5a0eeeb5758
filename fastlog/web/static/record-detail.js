// What an open record shows: message, traceback, notes, extras as a tree, and all fields.

import { LIST_TEXT, LONGEST_VALUE, ask, askText } from "./api.js";
import { announce, el } from "./dom.js";
import { jsonTree } from "./json-tree.js";
import { levelOf } from "./levels.js";
import { extraName, term } from "./query-text.js";
import { cells } from "./record-line.js";
import { cut, grouped, textOf, visible } from "./text.js";
import { asQueryTime, full } from "./times.js";

// Characters of a message that are shown at first, and with each click.
const LONG = 20_000,
  STEP = 1_000_000;
const FIELDS = [
  "levelno",
  "levelname",
  "name",
  "pathname",
  "filename",
  "module",
  "lineno",
  "funcName",
  "process",
  "processName",
  "thread",
  "threadName",
  "taskName",
  "host",
  "node",
  "offset",
  "idx",
];
const TERMS = new Map([
  ["levelname", "level"],
  ["name", "logger"],
]);

export class RecordDetail {
  /** `filter(field, value, isExcluded)` edits the query. */
  constructor(view, filter) {
    this.view = view;
    this.filter = filter;
  }

  /** Makes the detail of a record. What a list has abbreviated is read first. */
  make(record) {
    const place = el("div", { class: "detail" });
    if (record.abbreviated) this.#read(record, place);
    else place.append(...this.#parts(record));
    return place;
  }

  async #read(record, place) {
    place.append(el("p", { class: "quiet" }, "Reading the whole record …"));
    try {
      place.replaceChildren(...this.#parts(await ask(`/records/${encodeURIComponent(record.id)}`)));
    } catch (error) {
      place.replaceChildren(
        el("p", { class: "error-text" }, `Long texts are cut here: ${error.message}`),
        ...this.#parts(record),
      );
    }
  }

  #parts(record) {
    const notes = record.extra["!notes"];
    const extras = Object.entries(record.extra).filter(([name]) => name !== "!notes");
    return [
      this.#actions(record),
      section("Message", longText(record.message, "message")),
      record.exc_text ? section("Traceback", traceback(record.exc_text)) : null,
      record.stack_info ? section("Stack", traceback(record.stack_info)) : null,
      notes
        ? section(
            "Notes",
            el(
              "ul",
              { class: "notes" },
              [notes].flat().map((note) => el("li", {}, visible(textOf(note)))),
            ),
          )
        : null,
      extras.length
        ? section(
            "Extras",
            jsonTree(extras, (path, value) => this.#filters(path, value)),
          )
        : null,
      section("Fields", this.#fields(record)),
    ].filter(Boolean);
  }

  #actions(record) {
    const place = el("div", { class: "around", hidden: true });
    const choices = ["process", "logger", ...shared(record.extra)].filter(
      (by) => by !== "process" || record.process !== null,
    );
    return el(
      "div",
      { class: "actions" },
      el(
        "button",
        {
          type: "button",
          on: {
            click: () =>
              copy(askText(`/records/${encodeURIComponent(record.id)}`), "The record is copied as JSON."),
          },
        },
        "Copy as JSON",
      ),
      el(
        "button",
        { type: "button", on: { click: () => copy(this.#link(record), "The link is copied.") } },
        "Copy link",
      ),
      el(
        "label",
        { class: "around-choice" },
        "Around this record, same ",
        el(
          "select",
          { on: { change: (event) => this.#showAround(record, event.target.value, place) } },
          el("option", { value: "" }, "…"),
          choices.map((by) => el("option", { value: by }, by)),
        ),
      ),
      place,
    );
  }

  #link(record) {
    return `${location.origin}${location.pathname}?open=${encodeURIComponent(record.id)}`;
  }

  async #showAround(record, by, place) {
    place.hidden = !by;
    if (!by) return;
    place.replaceChildren(el("p", { class: "quiet" }, "Reading …"));
    try {
      const { records } = await ask(`/records/${encodeURIComponent(record.id)}/around`, {
        by,
        before: 20,
        after: 20,
        max_text: LIST_TEXT,
      });
      const state = {
        ...this.view.state,
        columns: ["time", "level", "name", "message"],
        wrap: false,
        extras: false,
      };
      place.replaceChildren(
        el(
          "ol",
          { class: "around-list", "aria-label": `Records around this one, same ${by}`, tabindex: "0" },
          records.map((one) => this.#aroundLine(one, record, state)),
        ),
        el("button", { type: "button", on: { click: () => this.#searchAround(record, by) } }, "Search these"),
      );
      const here = place.querySelector("[aria-current]");
      if (here) here.parentElement.scrollTop = here.offsetTop - here.parentElement.clientHeight / 2;
    } catch (error) {
      place.replaceChildren(el("p", { class: "error-text" }, error.message));
    }
  }

  #aroundLine(one, record, state) {
    const { kind } = levelOf(one.levelno, one.levelname);
    const link = el(
      "a",
      { href: this.#link(one), class: `line level-${kind}`, title: "Open this record" },
      cells(one, state),
    );
    return el("li", { "aria-current": one.id === record.id ? "true" : null }, link);
  }

  #searchAround(record, by) {
    const field =
      by === "logger" ? record.name : by === "process" ? record.process : valueAt(record.extra, by);
    const [since, until] = [record.created - 60, record.created + 60].map(asQueryTime);
    const terms = [term(by, field)];
    if (by === "process") terms.push(term("host", record.host));
    this.view.change({ mode: "search", q: terms.join(" "), since, until });
  }

  #fields(record) {
    const { tz } = this.view.state;
    const rows = [
      ["created", full(record.created, tz)],
      ["received", full(record.received, tz)],
    ].map(([name, text]) => [name, text, null]);
    for (const name of FIELDS) {
      const value = record[name];
      if (value !== null && value !== undefined)
        rows.push([name, String(value), this.#filters(TERMS.get(name) ?? name, value)]);
    }
    return el(
      "dl",
      { class: "fields" },
      rows.map(([name, text, filters]) =>
        el("div", {}, el("dt", {}, name), el("dd", {}, el("span", {}, visible(text)), filters)),
      ),
    );
  }

  /** Makes the two buttons that include and exclude a value. */
  #filters(field, value) {
    const what = `${typeof field === "string" ? field : pathName(field)}`;
    const text = textOf(value);
    if (text.length > LONGEST_VALUE) return null; // nobody searches for all of it
    const shown = cut(visible(text), 40);
    return el(
      "span",
      { class: "filters" },
      el(
        "button",
        {
          type: "button",
          "aria-label": `Include ${what} ${shown}`,
          title: "Include",
          on: { click: () => this.filter(what, value, false) },
        },
        "+",
      ),
      el(
        "button",
        {
          type: "button",
          "aria-label": `Exclude ${what} ${shown}`,
          title: "Exclude",
          on: { click: () => this.filter(what, value, true) },
        },
        "−",
      ),
    );
  }
}

/** Returns a path inside `extra` as the query language writes it. */
function pathName(path) {
  return path
    .map((step, at) => {
      if (typeof step === "number") return `[${step}]`;
      return at ? `.${extraName(step).slice(6)}` : extraName(step);
    })
    .join("");
}

/** Returns the attributes by which records may belong together. */
function shared(extra) {
  return Object.entries(extra)
    .filter(
      ([name, value]) => !name.startsWith("!") && (typeof value === "string" || typeof value === "number"),
    )
    .slice(0, 30)
    .map(([name]) => extraName(name));
}

function valueAt(extra, by) {
  return Object.entries(extra).find(([name]) => extraName(name) === by)?.[1];
}

function section(title, content) {
  return el("section", {}, el("h3", {}, title), content);
}

/** Shows a text; of a long one its start, and the rest when asked. */
function longText(text, what) {
  const begin = cut(text, LONG);
  const block = el("pre", { class: "text", tabindex: "0", "aria-label": what }, visible(begin));
  if (text.length <= LONG) return block;
  const more = el("button", { type: "button" });
  let at = begin.length;
  const label = () => {
    more.textContent =
      text.length - at <= STEP
        ? `Show all ${grouped(text.length)} characters`
        : `Show ${grouped(STEP)} more of ${grouped(text.length)} characters`;
  };
  more.addEventListener("click", () => {
    const part = cut(text.slice(at), STEP);
    block.append(visible(part));
    at += part.length;
    if (at >= text.length) more.remove();
    else label();
  });
  label();
  return el("div", {}, block, more);
}

/** Shows a traceback with the places of its frames set off. */
function traceback(text) {
  const block = el("pre", { class: "text traceback", tabindex: "0", "aria-label": "traceback" });
  const lines = visible(text.trimEnd()).split("\n");
  const shown =
    lines.length > 1000
      ? [...lines.slice(0, 500), `… ${lines.length - 1000} lines …`, ...lines.slice(-500)]
      : lines;
  for (const line of shown) {
    const frame = /^(\s*)File "(.*)", line (\d+), in (.*)$/.exec(line);
    if (frame) {
      block.append(
        frame[1],
        el(
          "span",
          { class: "frame" },
          el("span", { class: "frame-file" }, `${frame[2]}:${frame[3]}`),
          " in ",
          el("b", {}, frame[4]),
        ),
        "\n",
      );
    } else if (/^[\w.]+(:|$)/.test(line) && !line.startsWith("Traceback")) {
      block.append(el("span", { class: "exception" }, cut(line, 5000)), "\n");
    } else {
      block.append(cut(line, 5000), "\n");
    }
  }
  return block;
}

async function copy(text, done) {
  try {
    await navigator.clipboard.writeText(await text);
    announce(done);
  } catch (error) {
    announce(`Not copied: ${error.message}`);
  }
}
