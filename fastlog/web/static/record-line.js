// The line of a record in a list: its cells, by the columns that the user chose.

import { LIST_TEXT } from "./api.js";
import { el } from "./dom.js";
import { levelOf } from "./levels.js";
import { cut, grouped, oneLine, textOf, visible } from "./text.js";
import { dayAndTime } from "./times.js";

export const COLUMNS = new Map([
  ["time", "Time"],
  ["level", "Level"],
  ["name", "Logger"],
  ["message", "Message"],
  ["host", "Host"],
  ["process", "Process"],
  ["processName", "Process name"],
  ["thread", "Thread"],
  ["threadName", "Thread name"],
  ["taskName", "Task"],
  ["module", "Module"],
  ["filename", "File"],
  ["lineno", "Line"],
  ["funcName", "Function"],
  ["pathname", "Path"],
  ["received", "Received"],
]);
const WIDTHS = new Map([
  ["time", "24ch"],
  ["received", "24ch"],
  ["level", "11ch"],
  ["name", "minmax(10ch, 20ch)"],
  ["message", "minmax(20ch, 1fr)"],
  ["process", "8ch"],
  ["lineno", "6ch"],
  ["thread", "16ch"],
]);
const LINE = 600,
  WRAPPED = LIST_TEXT;

/** Returns the columns as widths of a CSS grid. */
export function gridOf(columns) {
  return columns.map((name) => WIDTHS.get(name) ?? "minmax(8ch, 16ch)").join(" ");
}

/** Returns the heading of a column. */
export function headingOf(column) {
  return COLUMNS.get(column) ?? column.replace(/^extra\./, "");
}

/** Returns the cells of a record. */
export function cells(record, view) {
  return view.columns.map((column) => cell(record, column, view));
}

function cell(record, column, view) {
  if (column === "time" || column === "received") return time(record, column, view.tz);
  if (column === "level") return level(record);
  if (column === "message") return message(record, view);
  const value = column.startsWith("extra.") ? extraAt(record.extra, column.slice(6)) : record[column];
  const text = oneLine(textOf(value), LINE);
  return el(
    "span",
    { class: `cell c-${column === "name" ? "logger" : "other"}`, title: text.length > 12 ? text : null },
    text,
  );
}

function time(record, column, zone) {
  const [day, clock] = dayAndTime(column === "time" ? record.created : record.received, zone);
  return el(
    "time",
    { class: "cell c-time", datetime: record.time },
    el("span", { class: "day" }, day, " "),
    clock,
  );
}

function level(record) {
  const { sign } = levelOf(record.levelno, record.levelname);
  const name = oneLine(record.levelname ?? String(record.levelno ?? "none"), 20);
  return el(
    "span",
    { class: "cell c-level" },
    el("span", { class: "sign", "aria-hidden": "true" }, sign),
    name,
  );
}

function message(record, view) {
  const isCut = record.message.length > WRAPPED || Object.hasOwn(record.abbreviated ?? {}, "message");
  const text = view.wrap
    ? visible(cut(record.message, WRAPPED)) + (isCut ? "…" : "")
    : oneLine(record.message, LINE);
  const length = record.abbreviated?.message;
  const parts = length ? [el("span", { class: "tag" }, `${grouped(length)} characters`), " ", text] : [text];
  if (record.exc_text) parts.push(" ", el("span", { class: "tag raised" }, lastLine(record.exc_text)));
  if (view.extras) parts.push(...inlineExtras(record.extra));
  else if (record.extra["!notes"]) parts.push(" ", el("span", { class: "tag" }, "note"));
  return el("span", { class: "cell c-message" }, ...parts);
}

function inlineExtras(extra) {
  return Object.entries(extra)
    .slice(0, 20)
    .flatMap(([name, value]) => [
      " ",
      el(
        "span",
        { class: "pair" },
        el("span", { class: "pair-name" }, `${oneLine(name, 40)}=`),
        oneLine(textOf(value), 80),
      ),
    ]);
}

/** Returns what a traceback ends with: the exception. */
function lastLine(traceback) {
  const lines = traceback
    .trimEnd()
    .slice(-2000)
    .split("\n")
    .filter((line) => line.trim());
  const exception = lines.findLast((line) =>
    /^[\w.]+(Error|Exception|Warning|Exit|Interrupt|[A-Z]\w*)\b/.test(line),
  );
  return oneLine(exception ?? lines.at(-1) ?? "", 120);
}

/** Returns the value that a path such as `db.hosts` or `"odd name"` leads to in `extra`. */
function extraAt(extra, path) {
  if (Object.hasOwn(extra, path)) return extra[path];
  let value = extra;
  for (const [, odd, plain, index] of path.matchAll(/"((?:[^"\\]|\\.)*)"|([^.[\]"]+)|\[(\d+)\]/g)) {
    const step = index ?? plain ?? odd.replace(/\\(.)/g, "$1");
    if (value === null || typeof value !== "object" || !Object.hasOwn(value, step)) return undefined;
    value = value[step];
  }
  return value;
}
