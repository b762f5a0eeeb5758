// Texts of records, made fit to show: nothing in them hides, moves or recolours what is beside it.

// Control characters, and the marks that change the direction of text or cannot be seen.
const INVISIBLE =
  /[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u061c\u200b\u200e\u200f\u2028-\u202e\u2060-\u2069\ufeff]/g;

/** Returns a text with its invisible characters as escapes, such as \x1b. Lines and tabs stay. */
export function visible(text) {
  return text.replace(INVISIBLE, (character) => {
    const code = character.charCodeAt(0).toString(16);
    return character < "\u0100" ? `\\x${code.padStart(2, "0")}` : `\\u${code.padStart(4, "0")}`;
  });
}

/** Returns the start of a text on one line, at most `most` characters of it. */
export function oneLine(text, most) {
  const begin = text.length > most ? `${cut(text, most)}…` : text;
  return visible(begin.trimEnd().replace(/\r?\n/g, " ↵ "));
}

/** Returns the first characters of a text, and never half of one. */
export function cut(text, most) {
  const code = text.charCodeAt(most - 1);
  return text.slice(0, code >= 0xd800 && code < 0xdc00 ? most - 1 : most);
}

/** Returns a value of JSON as one text: a text as it is, all others as compact JSON. */
export function textOf(value) {
  if (typeof value === "string") return value;
  return value === null || value === undefined ? "" : toJson(value);
}

/** Returns a value as JSON. Integers too long for a number of JavaScript keep all their digits. */
function toJson(value) {
  if (typeof value === "bigint") return value.toString();
  if (Array.isArray(value)) return `[${value.map(toJson).join(",")}]`;
  if (value === null || typeof value !== "object") return JSON.stringify(value);
  return `{${Object.entries(value)
    .map(([name, part]) => `${JSON.stringify(name)}:${toJson(part)}`)
    .join(",")}}`;
}

/** Returns a number as people read it, with separators. */
export function grouped(number) {
  return number.toLocaleString("en-US");
}

/** Returns a number with its noun: "1 record", "2 records". */
export function counted(number, noun) {
  return `${grouped(number)} ${noun}${number === 1 ? "" : "s"}`;
}

/** Returns a number of bytes as people read it. */
export function size(bytes) {
  const units = ["B", "KiB", "MiB", "GiB", "TiB"];
  let at = 0;
  while (bytes >= 1024 && at < units.length - 1) {
    bytes /= 1024;
    at += 1;
  }
  return `${at && bytes < 10 ? bytes.toFixed(1) : Math.round(bytes)} ${units[at]}`;
}
