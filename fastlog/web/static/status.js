// The state of the server: losses, rejections, lag of sinks, fill of the journal.

import { ask } from "./api.js";
import { byId, el } from "./dom.js";
import { FILLING, judge } from "./health.js";
import { counted, size, visible } from "./text.js";
import { full, span } from "./times.js";

const EVERY = 5000; // ms between two looks
const PATIENCE = 10_000; // ms for an answer
const MOST = 3; // problems that the banner lists
const SIGNS = { problem: "▲", stopped: "■", good: "✓" };

export class Status {
  #dismissed = new Set();
  #announced = new Set();

  constructor(view) {
    this.view = view;
    this.pill = byId("status-pill");
    this.banner = byId("banner");
    this.details = byId("status-details");
    this.#connect();
    this.#repeat();
  }

  #connect() {
    const list = el("ul");
    const hide = el(
      "button",
      { type: "button", class: "remove", "aria-label": "Hide these problems until another one comes" },
      "×",
    );
    hide.addEventListener("click", () => {
      for (const { key } of this.problems) this.#dismissed.add(key);
      this.#showBanner();
    });
    this.more = el("button", { type: "button", popovertarget: "status-details" });
    this.banner.replaceChildren(
      el("span", { class: "sign", "aria-hidden": "true" }, "▲"),
      list,
      this.more,
      hide,
    );
    document.addEventListener("visibilitychange", () => (document.hidden ? null : this.load()));
  }

  async #repeat() {
    if (!document.hidden) await this.load();
    setTimeout(() => this.#repeat(), EVERY);
  }

  async load() {
    try {
      this.#show(await ask("/status", {}, AbortSignal.timeout(PATIENCE)));
    } catch (error) {
      this.#showFailure(error);
    }
  }

  #show(status) {
    const { problems, notes } = judge(status, this.view.state.tz);
    const isStopped = status.running === false;
    const text = isStopped
      ? "Server stopped"
      : problems.length
        ? counted(problems.length, "problem")
        : "All stored";
    this.#showProblems(problems.length ? "problem" : isStopped ? "stopped" : "good", text, problems);
    this.details.replaceChildren(...detailsOf(status, problems, notes, this.view.state.tz));
  }

  /** Shows that the state is not known: what was shown before may be wrong by now. */
  #showFailure(error) {
    const problem =
      error.status === 401
        ? { key: "login", text: "Your login has ended.", advice: "Reload the page to log in." }
        : {
            key: "no answer",
            text: error.status ? error.message : "The web server does not answer.",
            advice: "What is shown may be old. The page goes on asking.",
          };
    this.#showProblems("problem", error.status === 401 ? "Logged out" : "No answer", [problem]);
    this.details.replaceChildren(
      el("h2", {}, "State of the server"),
      el("ul", { class: "problems-now" }, lineOf(problem)),
    );
  }

  #showProblems(kind, text, problems) {
    this.pill.className = kind;
    this.pill.querySelector(".pill-sign").textContent = SIGNS[kind];
    this.pill.querySelector(".pill-text").textContent = text;
    this.pill.setAttribute("aria-label", `State of the server: ${text}`);
    this.problems = problems;
    const keys = new Set(problems.map(({ key }) => key));
    // What is over is shown again if it comes back.
    this.#dismissed = intersection(this.#dismissed, keys);
    this.#announced = intersection(this.#announced, keys);
    this.#showBanner();
    this.#announce();
  }

  #showBanner() {
    const shown = this.problems.filter(({ key }) => !this.#dismissed.has(key));
    this.banner.hidden = !shown.length;
    this.banner.querySelector("ul").replaceChildren(...shown.slice(0, MOST).map(lineOf));
    this.more.hidden = shown.length <= MOST;
    this.more.textContent = `and ${shown.length - MOST} more`;
  }

  /** Lets screen readers say what is new, once, and not each change of a number. */
  #announce() {
    const fresh = this.problems.filter(({ key }) => !this.#announced.has(key));
    for (const { key } of fresh) this.#announced.add(key);
    if (fresh.length) byId("alarm").textContent = fresh.map(({ text }) => text).join(" ");
    else if (!this.problems.length) byId("alarm").textContent = "";
  }
}

function intersection(one, other) {
  return new Set([...one].filter((each) => other.has(each)));
}

function lineOf({ text, advice }) {
  return el("li", {}, text, advice ? [" ", el("span", { class: "advice" }, advice)] : []);
}

function detailsOf(status, problems, notes, zone) {
  const { receiver } = status;
  const fill = status.journal_fill ?? receiver?.fill;
  const meter = el("meter", {
    min: 0,
    max: 1,
    high: FILLING,
    value: fill ?? 0,
    "aria-label": "Fill of the journal",
  });
  const rows = [
    ["Server", status.running === undefined ? undefined : status.running ? "running" : "not running"],
    receiver && ["Connections", `${receiver.connections}, of which ${receiver.clients} with fastlog_client`],
    receiver && ["Received since the start", counted(receiver.frames, "record")],
    receiver && ["Journal", [meter, ` ${Math.round((fill ?? 0) * 100)} % of ${size(receiver.limit)}`]],
    receiver && ["Status of", full(receiver.at, zone, 0)],
    ["Version", status.version],
  ].filter((row) => row && row[1] !== undefined);
  return [
    el("h2", {}, "State of the server"),
    problems.length
      ? el("ul", { class: "problems-now" }, problems.map(lineOf))
      : el("p", {}, "No losses, no rejections and no lag at present."),
    sinkTable(status.sinks ?? []),
    nodeTable(status.source),
    el(
      "dl",
      { class: "fields" },
      rows.map(([name, content]) => el("div", {}, el("dt", {}, name), el("dd", {}, content))),
    ),
    notes.length
      ? el(
          "details",
          {},
          el("summary", {}, "Earlier losses and rejections"),
          el(
            "ul",
            {},
            notes.map((one) => el("li", {}, one)),
          ),
        )
      : null,
  ].filter(Boolean);
}

function sinkTable(sinks) {
  if (!sinks.length) return null;
  const known = (value, show) => (value === null || value === undefined ? "?" : show(value));
  return el(
    "table",
    {},
    el(
      "thead",
      {},
      el(
        "tr",
        {},
        ["Sink", "Behind", "Bytes", "Records"].map((name) => el("th", { scope: "col" }, name)),
      ),
    ),
    el(
      "tbody",
      {},
      sinks.map((sink) =>
        el(
          "tr",
          {},
          el("th", { scope: "row" }, visible(String(sink.name))),
          el("td", {}, known(sink.lag_seconds, span)),
          el("td", {}, known(sink.lag_bytes, size)),
          el("td", {}, known(sink.lag_records, String)),
        ),
      ),
    ),
  );
}

/** Returns the nodes that a central server takes from a stream; null if there are none. */
function nodeTable(source) {
  if (!source?.nodes?.length) return null;
  const now = Date.now() / 1000;
  return el(
    "table",
    {},
    el(
      "thead",
      {},
      el(
        "tr",
        {},
        ["Node", "Last block", "Messages behind", "Gap"].map((name) =>
          el("th", { scope: "col" }, name),
        ),
      ),
    ),
    el(
      "tbody",
      {},
      source.nodes.map((node) =>
        el(
          "tr",
          {},
          el("th", { scope: "row" }, visible(String(node.node))),
          el("td", {}, node.received === null ? "?" : `${span(Math.max(0, now - node.received))} ago`),
          el("td", {}, String(node.pending)),
          el("td", {}, node.gap === null ? "none" : `from offset ${node.gap}`),
        ),
      ),
    ),
  );
}
