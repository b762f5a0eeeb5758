// Loggers as the tree that their names are.

import { el } from "./dom.js";
import { cut, visible } from "./text.js";

const WIDE = 40;

/**
 * Makes the tree of loggers with their counts. `make(group, name)` makes the line of a logger.
 * Branches that were open in `before` are open again.
 */
export function loggerTree(groups, make, before) {
  const wereOpen = new Map(
    [...before.querySelectorAll("details")].map((one) => [one.dataset.path, one.open]),
  );
  const root = branch(null);
  const unnamed = groups.find(({ value }) => value === null);
  for (const { value, records } of groups)
    if (value !== null) insert(root, String(value).split("."), records);
  const list = show(root, make, wereOpen, 0);
  if (unnamed) list.append(el("li", {}, make(unnamed, "(none)")));
  return list;
}

function branch(path) {
  return { path, records: 0, children: new Map() };
}

function insert(root, names, records) {
  let at = root;
  for (const name of names) {
    if (!at.children.has(name)) at.children.set(name, branch(at.path === null ? name : `${at.path}.${name}`));
    at = at.children.get(name);
    at.records += records;
  }
}

function show(parent, make, wereOpen, depth) {
  const children = [...parent.children].sort(([, a], [, b]) => b.records - a.records);
  const list = el(
    "ul",
    { class: "logger-tree" },
    children.slice(0, WIDE).map(([name, child]) => {
      const line = () =>
        make({ value: child.path, records: child.records }, visible(cut(name, 60)) || "(empty)");
      if (!child.children.size) return el("li", {}, line());
      const isOpen = wereOpen.get(child.path) ?? (depth === 0 && parent.children.size <= 4);
      const inner = el(
        "details",
        { open: isOpen, data: { path: child.path } },
        el("summary", { "aria-label": `Loggers below ${visible(child.path)}` }),
        show(child, make, wereOpen, depth + 1),
      );
      return el("li", { class: "logger-branch" }, line(), inner);
    }),
  );
  if (children.length > WIDE) list.append(el("li", { class: "quiet" }, `${children.length - WIDE} more`));
  return list;
}
