// What is wrong with the server, judged by its status: each problem with what to do about it.

import { counted, visible } from "./text.js";
import { ago, full, span } from "./times.js";

const LAGGING = 10; // seconds behind
const STALE = 15; // seconds without a sign of the receiver, which writes one each second
export const FILLING = 0.8; // share of the journal

const WAITING =
  "Its records wait in the journal, and searches do not find them yet. The server goes on trying.";
const ADVICE = new Map([
  ["journal full", "A sink is too slow or stopped. Mend it, or raise journal.size."],
  ["disk full or too slow", "Make room on the disk of the data directory."],
  ["frame over the limit", "A record is longer than limits.max_frame. Raise it, or log less."],
  ["truncated", "A sender closed its connection in the middle of a record."],
]);
const OTHER_PROGRAMS = ["http", "tls", "syslog", "fluentd", "lumberjack", "unknown protocol"];

/**
 * Returns what is wrong, and what was wrong before.
 *
 * A problem is `{ key, text, advice }`. Its key stays the same as long as it lasts, whatever its numbers.
 */
export function judge(status, zone, now = Date.now() / 1000) {
  const tallies = ["losses", "rejected"].map((kind) => judgeTallies(kind, status));
  return {
    problems: [
      ...judgeServer(status, zone, now),
      ...tallies.flatMap(({ problems }) => problems),
      ...(status.sinks ?? []).filter((sink) => sink.configured !== false).flatMap(judgeSink),
      ...judgeJournal(status),
      ...judgeFiles(status),
    ],
    notes: tallies.flatMap(({ notes }) => notes),
  };
}

function judgeServer({ running, receiver }, zone, now) {
  if (!receiver) return []; // a store without a server: there is nothing to miss
  if (running === false)
    return [
      {
        key: "server",
        text: `The server has not run since ${full(receiver.at, zone, 0)}. What is sent to it now is not stored.`,
        advice: "Start fastlog-server. If this store is an archive, hide this line.",
      },
    ];
  if (now - receiver.at < STALE) return [];
  return [
    {
      key: "receiver",
      text: `The receiver has given no sign of life for ${span(now - receiver.at)}.`,
      advice: "Records may wait in their applications. Look at the server's log, and run fastlog check.",
    },
  ];
}

/** Judges what the ledger has of losses or rejections; and what the receiver counts before the ledger. */
function judgeTallies(kind, status) {
  const problems = [],
    notes = [];
  const during = `in the last ${span(status.recent_seconds ?? 300)}`;
  const named = (count) =>
    kind === "losses" ? `${counted(count, "record")} lost` : counted(count, "rejection");
  let known = 0;
  for (const tally of status[kind] ?? []) {
    const reason = visible(tally.reason);
    const spans = tally.recent_unknown
      ? ` and ${counted(tally.recent_unknown, "span")} of unknown length`
      : "";
    known += tally.recent;
    if (tally.recent || tally.recent_unknown)
      problems.push({
        key: `${kind} ${tally.reason}`,
        text: `${named(tally.recent)}${spans} ${during}: ${reason}.`,
        advice: adviceOn(kind, tally.reason),
      });
    else notes.push(`${named(tally.count)}, the last ${ago(tally.last)}: ${reason}`);
  }
  const counts = { losses: status.receiver?.recent_dropped, rejected: status.receiver?.recent_rejected };
  const unentered = status.running ? (counts[kind] ?? 0) - known : 0;
  if (unentered > 0)
    problems.push({
      key: `${kind} of the receiver`,
      text: `${named(unentered)} ${during}; the ledger does not have the reason yet.`,
      advice: adviceOn(kind, kind === "losses" ? "journal full" : ""),
    });
  return { problems, notes };
}

function adviceOn(kind, reason) {
  if (ADVICE.has(reason)) return ADVICE.get(reason);
  if (kind === "losses") return "The table losses of ledger.db says from whom, and when.";
  const what = OTHER_PROGRAMS.includes(reason) ? "Another program sends to this port. " : "";
  return `${what}The table rejected of ledger.db has the senders' addresses.`;
}

function judgeSink(sink) {
  const name = visible(String(sink.name));
  const problems = [];
  const add = (key, text, advice) => problems.push({ key: `${key} ${sink.name}`, text, advice });
  if (sink.error) add("error", `Sink ${name} fails: ${visible(sink.error)}.`, WAITING);
  else if (sink.cursor === null)
    add("unopened", `Sink ${name} has never been opened.`, "The server's log has the reason.");
  for (const [handler, failures] of Object.entries(sink.failing ?? {}))
    add(
      `failing ${handler}`,
      `Sink ${name}: handler ${visible(handler)} has failed ${counted(failures, "time")}.`,
      "The server's log has the reason.",
    );
  if (sink.lag_seconds > LAGGING) {
    const records = sink.lag_records ? `, ${counted(sink.lag_records, "record")}` : "";
    add("lag", `Sink ${name} is ${span(sink.lag_seconds)} behind${records}.`, sink.error ? "" : WAITING);
  }
  return problems;
}

function judgeJournal({ running, receiver, journal_fill: fill }) {
  const problems = [];
  if (running && receiver?.failure)
    problems.push({
      key: "journal failure",
      text: `The journal takes no records: ${visible(receiver.failure)}.`,
      advice:
        "Make room on the disk of the data directory. Meanwhile fastlog_client keeps its records, and those" +
        " of stock handlers are dropped when memory is full.",
    });
  if (fill > FILLING)
    problems.push({
      key: "journal fill",
      text: `The journal is ${Math.round(fill * 100)} % full.`,
      advice:
        "When it is full, records of stock handlers are dropped. Mend the sink that is behind, or raise" +
        " journal.size.",
    });
  return problems;
}

function judgeFiles(status) {
  const problems = Object.entries(status.unread ?? {}).map(([file, what]) => ({
    key: `unread ${file}`,
    text: `Not readable: ${visible(file)}: ${visible(String(what))}.`,
    advice: "Its records are missing from all answers. Run fastlog check.",
  }));
  if (status.not_counted)
    problems.push({
      key: "store",
      text: `Records cannot be read: ${visible(status.not_counted)}.`,
      advice: "Searches fail until that ends. What is sent meanwhile waits in the journal.",
    });
  if (status.ledger_error)
    problems.push({
      key: "ledger",
      text: `Losses and rejections are not known: ${visible(status.ledger_error)}.`,
      advice: "",
    });
  return problems;
}
