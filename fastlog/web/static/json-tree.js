// A value of JSON as a tree whose branches open and close.

import { el } from "./dom.js";
import { cut, textOf, visible } from "./text.js";

const MANY = 200,
  LONG = 2000;

/** Makes a tree of [name, value] pairs. `actionsOf(path, value)` makes what stands beside a leaf. */
export function jsonTree(entries, actionsOf, path = []) {
  const shown = entries.slice(0, MANY);
  const list = el(
    "ul",
    { class: "json-tree" },
    shown.map(([name, value]) => node(name, value, actionsOf, [...path, name])),
  );
  if (entries.length > MANY) {
    const more = el("button", { type: "button" }, `Show ${entries.length - MANY} more`);
    more.addEventListener("click", () => {
      more.replaceWith();
      list.append(
        ...entries.slice(MANY).map(([name, value]) => node(name, value, actionsOf, [...path, name])),
      );
    });
    return el("div", {}, list, more);
  }
  return list;
}

function node(name, value, actionsOf, path) {
  const label = el("span", { class: "json-name" }, visible(String(name)));
  if (value === null || typeof value !== "object") {
    return el("li", {}, label, ": ", leaf(value), actionsOf(path, value));
  }
  const isList = Array.isArray(value);
  const entries = isList ? value.map((one, at) => [at, one]) : Object.entries(value);
  const summary = isList ? `[${entries.length}]` : `{${entries.length}}`;
  if (!entries.length) return el("li", {}, label, ": ", isList ? "[]" : "{}");
  const branch = el("details", {}, el("summary", {}, label, " ", el("span", { class: "quiet" }, summary)));
  // Its members are made when it opens: a deep or wide value costs nothing before.
  const open = () => {
    if (branch.open && branch.children.length === 1) branch.append(jsonTree(entries, actionsOf, path));
  };
  branch.addEventListener("toggle", open);
  if (path.length < 2 && entries.length <= 20) {
    branch.open = true;
    open();
  }
  return el("li", {}, branch);
}

function leaf(value) {
  const kind = value === null ? "null" : typeof value;
  const text = value === null ? "null" : visible(textOf(value));
  return el("span", { class: `json-value json-${kind}` }, text.length > LONG ? `${cut(text, LONG)}…` : text);
}
