// The state of the server: losses, rejections, lag of sinks, fill of the journal.

import { ask } from "./api.js";
import { byId, el } from "./dom.js";
import { counted, size, visible } from "./text.js";
import { ago, full, span } from "./times.js";

const EVERY = 5000; // ms
const LAGGING = 10; // seconds behind
const FILLING = 0.8; // share of the journal

export class Status {
  constructor(view) {
    this.view = view;
    this.pill = byId("status-pill");
    this.banner = byId("banner");
    this.details = byId("status-details");
    this.dismissed = "";
    this.#repeat();
  }

  async #repeat() {
    if (!document.hidden) await this.load();
    setTimeout(() => this.#repeat(), EVERY);
  }

  async load() {
    try {
      this.#show(await ask("/status"));
    } catch (error) {
      if (error.status !== 401) this.#showPill("problem", "No answer", [error.message]);
    }
  }

  #show(status) {
    const { problems, notes } = judge(status);
    const text = problems.length
      ? counted(problems.length, "problem")
      : status.running === false
        ? "Server stopped"
        : "All stored";
    this.#showPill(
      problems.length ? "problem" : status.running === false ? "stopped" : "good",
      text,
      problems,
    );
    this.details.replaceChildren(...detailsOf(status, problems, notes, this.view.state.tz));
  }

  #showPill(kind, text, problems) {
    this.pill.className = kind;
    this.pill.querySelector(".pill-sign").textContent = { problem: "▲", stopped: "■", good: "✓" }[kind];
    this.pill.querySelector(".pill-text").textContent = text;
    this.pill.setAttribute("aria-label", `State of the server: ${text}`);
    const said = problems.join("\n");
    this.banner.hidden = !problems.length || said === this.dismissed;
    if (this.banner.hidden || said === this.banner.said) return;
    this.banner.said = said;
    this.banner.replaceChildren(
      el("span", { class: "sign", "aria-hidden": "true" }, "▲"),
      el(
        "ul",
        {},
        problems.map((one) => el("li", {}, one)),
      ),
      el(
        "button",
        {
          type: "button",
          class: "remove",
          "aria-label": "Hide until something else happens",
          on: {
            click: () => {
              this.dismissed = said;
              this.banner.hidden = true;
            },
          },
        },
        "×",
      ),
    );
  }
}

/** Returns what is wrong, as sentences, and what was wrong before. */
function judge(status) {
  const problems = [],
    notes = [];
  const recent = status.recent_seconds ? `in the last ${span(status.recent_seconds)}` : "recently";
  for (const [name, verb] of [
    ["losses", "lost"],
    ["rejected", "rejected"],
  ]) {
    for (const tally of status[name] ?? []) {
      const spans = tally.recent_unknown
        ? ` and ${counted(tally.recent_unknown, "span")} of unknown length`
        : "";
      if (tally.recent || tally.recent_unknown)
        problems.push(
          `${counted(tally.recent, "record")}${spans} ${verb} ${recent}: ${visible(tally.reason)}.`,
        );
      else
        notes.push(
          `${counted(tally.count, "record")} ${verb}, the last ${ago(tally.last)}: ${visible(tally.reason)}`,
        );
    }
  }
  const dropped = status.receiver?.recent_dropped;
  if (dropped && !status.losses?.some((tally) => tally.recent))
    problems.push(`${counted(dropped, "record")} dropped ${recent}.`);
  for (const sink of status.sinks ?? []) {
    const name = visible(String(sink.name));
    if (sink.configured === false) continue;
    if (sink.error) problems.push(`Sink ${name}: ${visible(sink.error)}`);
    if (sink.lag_seconds > LAGGING) problems.push(`Sink ${name} is ${span(sink.lag_seconds)} behind.`);
  }
  const fill = status.journal_fill ?? status.receiver?.fill;
  if (fill > FILLING) problems.push(`The journal is ${Math.round(fill * 100)} % full.`);
  if (status.receiver?.failure) problems.push(`Receiver: ${visible(status.receiver.failure)}`);
  if (status.ledger_error) problems.push(visible(status.ledger_error));
  for (const [file, what] of Object.entries(status.unread ?? {}))
    problems.push(`Not readable: ${visible(file)} ${visible(String(what))}`);
  return { problems, notes };
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
      ? el(
          "ul",
          { class: "problems-now" },
          problems.map((one) => el("li", {}, one)),
        )
      : el("p", {}, "No losses, no rejections and no lag at present."),
    sinkTable(status.sinks ?? []),
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
