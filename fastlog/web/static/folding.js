// Folds repeats: records one after the other that say the same, but for numbers.

// A line stands for so many records at most; then another begins.
const MOST = 500;

/** Returns what repeats have in common. */
function patternOf(record) {
  const message = record.message.slice(0, 300).replace(/0x[0-9a-f]+|[0-9a-f]{8,}|\d+/gi, "#");
  return `${record.levelno}\n${record.name}\n${record.exc_text ? "raised" : ""}\n${message}`;
}

/** Makes rows of records. Repeats join the row before them, or the last of `rows`. */
export function fold(records, isFolding, isOpen, rows = []) {
  const made = [];
  let last = rows.at(-1);
  for (const record of records) {
    const pattern = isFolding ? patternOf(record) : null;
    if (
      pattern !== null &&
      last?.record &&
      last.pattern === pattern &&
      last.repeats.length < MOST &&
      !isOpen(record.id) &&
      !isOpen(last.record.id)
    ) {
      last.repeats.push(record);
      last.isChanged = true;
      continue;
    }
    last = { key: record.id, record, pattern, repeats: [] };
    made.push(last);
  }
  return made;
}
