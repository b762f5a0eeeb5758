// The view in the address: what is on the page can be kept as a link, and Back goes back.

import { LOCAL_ZONE, isZone } from "./times.js";

const MODES = ["search", "live", "problems"];
export const DEFAULT_COLUMNS = ["time", "level", "name", "message"];

const DEFAULTS = {
  mode: "search",
  q: "",
  since: "",
  until: "",
  tz: LOCAL_ZONE,
  by: "level",
  order: "newest",
  columns: DEFAULT_COLUMNS,
  facets: [],
  open: [],
  wrap: false,
  extras: false,
  fold: true,
  all: false,
};

/** Returns the view that an address describes. What is wrong in it is ignored. */
export function read(search) {
  const given = new URLSearchParams(search);
  const view = { ...DEFAULTS };
  for (const [name, usual] of Object.entries(DEFAULTS)) {
    const text = given.get(name);
    if (text === null) continue;
    if (Array.isArray(usual)) view[name] = given.getAll(name).filter(Boolean);
    else if (typeof usual === "boolean") view[name] = text === "1";
    else view[name] = text;
  }
  if (!MODES.includes(view.mode)) view.mode = DEFAULTS.mode;
  if (!isZone(view.tz)) view.tz = DEFAULTS.tz;
  if (view.order !== "oldest") view.order = "newest";
  if (!view.columns.length) view.columns = DEFAULT_COLUMNS;
  return view;
}

/** Returns the query string of a view; what is as usual is left out. */
export function write(view) {
  const text = new URLSearchParams();
  for (const [name, usual] of Object.entries(DEFAULTS)) {
    const value = view[name];
    if (String(value) === String(usual)) continue;
    if (Array.isArray(usual)) for (const one of value) text.append(name, one);
    else text.set(name, typeof usual === "boolean" ? (value ? "1" : "0") : value);
  }
  const query = text.toString();
  return query ? `?${query}` : location.pathname;
}

/** Returns the mode in which a range of time means something. */
export function leaveLive(mode) {
  return mode === "live" ? "search" : mode;
}
