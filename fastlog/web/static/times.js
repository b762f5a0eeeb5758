// Times and spans, as people read them, in the zone that the user chose.

const formats = new Map();

/** The zone of the browser. */
export const LOCAL_ZONE = Intl.DateTimeFormat().resolvedOptions().timeZone || "UTC";

/** Returns whether a name is one of a zone. */
export function isZone(name) {
  try {
    return Boolean(new Intl.DateTimeFormat("en", { timeZone: name }));
  } catch {
    return false;
  }
}

/** Returns the names of all zones. */
export function zones() {
  const known = Intl.supportedValuesOf ? Intl.supportedValuesOf("timeZone") : [];
  return [...new Set([LOCAL_ZONE, "UTC", ...known])];
}

function parts(epoch, zone) {
  let format = formats.get(zone);
  if (!format) {
    format = new Intl.DateTimeFormat("en-GB", {
      timeZone: zone,
      hourCycle: "h23",
      year: "numeric",
      month: "2-digit",
      day: "2-digit",
      hour: "2-digit",
      minute: "2-digit",
      second: "2-digit",
      timeZoneName: "longOffset",
    });
    formats.set(zone, format);
  }
  const found = {};
  for (const { type, value } of format.formatToParts(new Date(Math.floor(epoch) * 1000))) found[type] = value;
  return found;
}

/** Returns the day and the time of a moment: ["2026-11-29", "20:15:07.123"]. `digits` of a second. */
export function dayAndTime(epoch, zone, digits = 3) {
  if (typeof epoch !== "number" || Math.abs(epoch) > 8.6e12) return ["", String(epoch)];
  const { year, month, day, hour, minute, second } = parts(epoch, zone);
  const fraction = (epoch - Math.floor(epoch)).toFixed(9).slice(2, 2 + digits);
  return [`${year}-${month}-${day}`, `${hour}:${minute}:${second}${digits ? `.${fraction}` : ""}`];
}

/** Returns a moment with its offset from UTC. */
export function full(epoch, zone, digits = 6) {
  const [day, time] = dayAndTime(epoch, zone, digits);
  return day ? `${day} ${time} ${parts(epoch, zone).timeZoneName.replace("GMT", "UTC")}` : time;
}

/** Returns the offset of a zone from UTC at present: "UTC+01:00". */
export function offsetOf(zone) {
  return parts(Date.now() / 1000, zone).timeZoneName.replace("GMT", "UTC");
}

/** Returns a moment as the query language reads it, exact to a millisecond. */
export function asQueryTime(epoch) {
  return new Date(Math.round(epoch * 1000)).toISOString().replace(".000Z", "Z");
}

/** Returns seconds as a short span: "3 min". */
export function span(seconds) {
  if (seconds < 1) return `${Math.round(seconds * 1000)} ms`;
  for (const [length, unit] of [
    [86400, "d"],
    [3600, "h"],
    [60, "min"],
  ]) {
    if (seconds >= 2 * length || (unit !== "d" && seconds === length))
      return `${Math.round(seconds / length)} ${unit}`;
  }
  return `${Math.round(seconds)} s`;
}

/** Returns how long ago a moment was. */
export function ago(epoch) {
  const seconds = Date.now() / 1000 - epoch;
  return seconds < 1 ? "now" : `${span(seconds)} ago`;
}
