// Problems: tracebacks and messages in groups of the same kind, with count, times and an example.

import { LIST_TEXT, Question } from "./api.js";
import { el, svg } from "./dom.js";
import { levelOf } from "./levels.js";
import { add, split, within } from "./query-text.js";
import { cells } from "./record-line.js";
import { counted, cut, grouped, visible } from "./text.js";
import { ago, full } from "./times.js";

export class Problems {
  #question = new Question();

  /** `detailOf(record)` makes the detail of the example. */
  constructor(view, place, detailOf) {
    Object.assign(this, { view, place, detailOf });
  }

  stop() {
    this.#question.stop();
  }

  async load(onError) {
    if (!this.place.children.length)
      this.place.replaceChildren(el("p", { class: "empty" }, "Grouping records …"));
    try {
      const answer = await this.#question.ask("/problems", {
        q: this.#query(),
        tz: this.view.state.tz,
        limit: 50,
        max_text: LIST_TEXT,
      });
      if (answer) this.#show(answer);
      onError(null);
    } catch (error) {
      this.place.replaceChildren();
      onError(error);
    }
  }

  /** Returns the query with what makes a record a problem, unless the user wants all. */
  #query() {
    const { q, since, until, all } = this.view.state;
    return within(all || split(q) === null ? q : add(q, "(level>=warning OR has:exc_text)"), since, until);
  }

  #choice() {
    const { all } = this.view.state;
    return el(
      "div",
      { class: "problem-choice" },
      el(
        "p",
        { class: "quiet" },
        all
          ? "Records of all levels, grouped by what they say."
          : "Warnings, errors and tracebacks, grouped by what they say.",
      ),
      el(
        "button",
        { type: "button", on: { click: () => this.view.change({ all: !all }) } },
        all ? "Only problems" : "All levels",
      ),
    );
  }

  #show({ problems, complete }) {
    if (!problems.length) {
      this.place.replaceChildren(this.#choice(), el("p", { class: "empty" }, "No records match."));
      return;
    }
    const part = complete
      ? null
      : el("p", { class: "quiet" }, "A part of the store was read in time: counts are at least these.");
    this.place.replaceChildren(
      ...[
        this.#choice(),
        part,
        el(
          "ol",
          { class: "problem-list" },
          problems.map((one) => this.#problem(one)),
        ),
      ].filter(Boolean),
    );
  }

  #problem(problem) {
    const { tz } = this.view.state;
    const example = el(
      "details",
      {
        class: "example",
        on: {
          toggle: () => {
            if (example.open && example.children.length === 1) example.append(this.detailOf(problem.example));
          },
        },
      },
      el(
        "summary",
        {},
        "Newest example ",
        el(
          "span",
          { class: "line" },
          cells(problem.example, {
            ...this.view.state,
            columns: ["time", "level", "name", "message"],
            wrap: false,
            extras: false,
          }),
        ),
      ),
    );
    const times = `${full(problem.first, tz, 0)} to ${full(problem.last, tz, 0)}`;
    const { kind } = levelOf(problem.example.levelno, problem.example.levelname);
    return el(
      "li",
      { class: `problem level-${kind}` },
      el(
        "div",
        { class: "problem-head" },
        el(
          "span",
          { class: "problem-count" },
          grouped(problem.records),
          el("span", { class: "quiet" }, problem.records === 1 ? " time" : " times"),
        ),
        el(
          "div",
          { class: "problem-title" },
          el("h3", {}, visible(cut(problem.title, 300))),
          problem.pattern && problem.pattern !== problem.title
            ? el("p", { class: "quiet pattern" }, visible(cut(problem.pattern, 300)))
            : null,
          el(
            "p",
            { class: "quiet", title: times },
            `${problem.kind === "traceback" ? "Traceback" : "Message"} · last ${ago(problem.last)} · first ${ago(problem.first)}`,
          ),
        ),
        sparkline(problem),
        el(
          "button",
          {
            type: "button",
            "aria-label": `Show ${counted(problem.records, "record")} of ${cut(problem.title, 60)}`,
            on: {
              click: () =>
                this.view.change({ mode: "search", q: withQuery(this.view.state.q, problem.query) }),
            },
          },
          "Show records",
        ),
      ),
      example,
    );
  }
}

function withQuery(text, query) {
  if (!text) return query;
  return query.includes(" OR ") ? add(text, `(${query})`) : add(text, query);
}

function sparkline({ sparkline: counts, records }) {
  const most = Math.max(1, ...counts),
    width = 5;
  return svg(
    "svg",
    {
      class: "sparkline",
      viewBox: `0 0 ${counts.length * width} 28`,
      role: "img",
      "aria-label": `${counted(records, "record")} over time`,
    },
    counts.map((count, at) =>
      svg("rect", {
        x: at * width,
        width: width - 1,
        y: 28 - Math.max(count ? 2 : 0.5, (count / most) * 28),
        height: Math.max(count ? 2 : 0.5, (count / most) * 28),
      }),
    ),
  );
}
