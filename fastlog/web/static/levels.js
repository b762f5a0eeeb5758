// Levels: each has a colour, and a sign for those who do not see the colour.

const LEVELS = [
  [50, "critical", "◆"],
  [40, "error", "●"],
  [30, "warning", "▲"],
  [20, "info", "○"],
  [-Infinity, "debug", "·"],
];
const NAMES = new Map([
  ["CRITICAL", 50],
  ["FATAL", 50],
  ["ERROR", 40],
  ["WARNING", 30],
  ["WARN", 30],
  ["INFO", 20],
  ["DEBUG", 10],
]);

/** Returns the kind and the sign of a level, by number or by name. */
export function levelOf(number, name) {
  const value = number ?? NAMES.get(String(name).toUpperCase());
  if (value === undefined || value === null) return { kind: "none", sign: "–" };
  const [, kind, sign] = LEVELS.find(([least]) => Number(value) >= least);
  return { kind, sign };
}

/**
 * Returns field and value of the term that asks for a level by its name. Other levels than those of
 * `logging` are named as a whole: `level:` would take a similar name for a mistake.
 */
export function levelTerm(name) {
  return NAMES.has(name) ? ["level", name.toLowerCase()] : ["levelname", name];
}

/** Returns where a level stands in a list that begins with the worst. */
export function rank(name) {
  return -(NAMES.get(String(name).toUpperCase()) ?? -1);
}

/** Returns the colour of the bars of a kind of level in the present theme. */
export function colourOf(kind) {
  return getComputedStyle(document.documentElement).getPropertyValue(`--bar-${kind}`).trim();
}
