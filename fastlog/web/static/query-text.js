// Edits the text of a query: what facets and links add to it or take out of it.
//
// Only the terms at the top level are looked at. Everything else stays as the user wrote it.

const BARE = /^[\p{L}\p{N}_][\p{L}\p{N}_.\/@+-]*$/u;
const KEYWORDS = new Set(["and", "or", "not", "to"]);
const TERM = /^(-?)([\p{L}_][^\s:=<>!()"]*(?:\."(?:[^"\\]|\\.)*")?)(:|=)(.+)$/su;

/** Returns a value as the query language writes it, in quotes where it needs them. */
export function quoted(value) {
  const text = String(value);
  if (BARE.test(text) && !KEYWORDS.has(text.toLowerCase())) return text;
  return `"${text.replace(/[\\"]/g, "\\$&")}"`;
}

/** Returns the name of an attribute of `extra` as the query language writes it. */
export function extraName(name) {
  return /^[\p{L}_](?:[\p{L}\p{N}_-]*[\p{L}\p{N}_])?$/u.test(name)
    ? `extra.${name}`
    : `extra."${name.replace(/[\\"]/g, "\\$&")}"`;
}

/** Returns the term that asks for a value of a field; null asks for records without the field. */
export function term(field, value) {
  if (value === null) return `-${field}:*`;
  return `${field}:${quoted(value)}`;
}

/** Splits a query at the spaces of its top level. Returns null if it is not balanced. */
export function split(text) {
  const terms = [];
  let depth = 0,
    begin = 0,
    at = 0;
  const end = (to) => {
    if (to > begin) terms.push(text.slice(begin, to));
    begin = to + 1;
  };
  while (at < text.length) {
    const character = text[at];
    if (character === "\\") {
      at += 1;
    } else if (character === '"' || (character === "/" && /[:=]/.test(text[at - 1] ?? ""))) {
      at = closing(text, at, character);
      if (at < 0) return null;
    } else if ("([".includes(character)) {
      depth += 1;
    } else if (")]".includes(character)) {
      depth -= 1;
      if (depth < 0) return null;
    } else if (depth === 0 && /\s/.test(character)) {
      end(at);
    }
    at += 1;
  }
  end(text.length);
  return depth === 0 ? terms : null;
}

function closing(text, from, mark) {
  for (let at = from + 1; at < text.length; at += 1) {
    if (text[at] === "\\") at += 1;
    else if (text[at] === mark) return at;
  }
  return -1;
}

/** Returns the values that a query includes and excludes of a field, as they are written. */
export function chosen(text, field) {
  const found = { included: new Set(), excluded: new Set() };
  for (const part of split(text) ?? []) {
    const read = readTerm(part, field);
    if (read) for (const value of read.values) found[read.isExcluded ? "excluded" : "included"].add(value);
    if (part === `-${field}:*`) found.included.add(null);
    if (part === `${field}:*`) found.excluded.add(null);
  }
  return found;
}

/** Returns a query that includes a value of a field, or no longer does if it did. */
export function include(text, field, value) {
  return toggle(text, field, value, false);
}

/** Returns a query that excludes a value of a field, or no longer does if it did. */
export function exclude(text, field, value) {
  return toggle(text, field, value, true);
}

function toggle(text, field, value, isExcluded) {
  const parts = andTerms(text);
  const written = value === null ? "*" : quoted(value);
  const asExcluded = value === null ? !isExcluded : isExcluded;
  let isDone = false;
  const edited = [];
  for (const part of parts) {
    const read = readTerm(part, field);
    if (!read || (read.isExcluded !== asExcluded && !read.values.includes(written))) {
      edited.push(part);
      continue;
    }
    const isSame = read.isExcluded === asExcluded;
    const values = read.values.filter((one) => one !== written);
    if (isSame && !isDone) {
      if (values.length === read.values.length) values.push(written);
      isDone = true;
    }
    if (values.length) edited.push(writeTerm(field, values, read.isExcluded));
  }
  if (!isDone) edited.push(writeTerm(field, [written], asExcluded));
  return edited.join(" ");
}

function writeTerm(field, values, isExcluded) {
  return `${isExcluded ? "-" : ""}${field}:${values.length === 1 ? values[0] : `(${values.join(" ")})`}`;
}

/** Returns a query with one more term. */
export function add(text, addition) {
  const parts = andTerms(text);
  return (parts.includes(addition) ? parts : [...parts, addition]).join(" ");
}

/** Returns a query without its terms about a field. */
export function without(text, field) {
  const parts = split(text);
  if (!parts || parts.includes("OR")) return text;
  return parts.filter((part) => !readTerm(part, field)).join(" ");
}

/** Returns a query that also asks for a range of time; an unbalanced one as it is. */
export function within(text, since, until) {
  const bounds = [since && `created>=${quoted(since)}`, until && `created<${quoted(until)}`].filter(Boolean);
  if (!bounds.length || split(text) === null) return text;
  return [text.trim() && `(${text})`, ...bounds].filter(Boolean).join(" ");
}

function andTerms(text) {
  const parts = split(text);
  if (parts === null || parts.some((part) => ["OR", "NOT", "AND"].includes(part))) return [`(${text})`];
  return parts;
}

/** Returns what a term says of a field, or null if it is about something else. */
function readTerm(part, field) {
  const match = TERM.exec(part);
  if (!match || match[2] !== field) return null;
  const [, minus, , , value] = match;
  if (/^[\[/]/.test(value)) return null;
  const inner = /^\((.*)\)$/s.exec(value);
  const values = inner ? (split(inner[1]) ?? []).filter((one) => one !== "OR") : [value];
  if (values.some((one) => /[*]/.test(one) && one !== "*" && !one.startsWith('"'))) return null;
  return { isExcluded: minus === "-", values };
}
