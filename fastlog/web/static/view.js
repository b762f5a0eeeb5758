// The view: what the user looks at. Parts of the page change it, and are told of changes.

import { read, write } from "./address.js";
import { within } from "./query-text.js";

// Changes of these go to the history, so that Back undoes them.
const STEPS = ["mode", "q", "since", "until", "order"];

// The range of the counts beside a live tail.
const LIVE_RANGE = "15min";

export class View {
  #listeners = [];

  constructor() {
    this.state = read(location.search);
    addEventListener("popstate", () => this.#become(read(location.search)));
  }

  /** Calls `listener` after each change of one of the names. */
  on(names, listener) {
    this.#listeners.push([names, listener]);
  }

  /** Changes the view, and the address with it. */
  change(changes) {
    const next = { ...this.state, ...changes };
    const isStep = STEPS.some((name) => next[name] !== this.state[name]);
    const address = write(next);
    if (isStep) history.pushState(null, "", address);
    else history.replaceState(null, "", address);
    this.#become(next);
  }

  /** The query with the range of time: what is asked of the server. */
  get query() {
    const { q, since, until, mode } = this.state;
    return mode === "live" ? q : within(q, since, until);
  }

  /** The parameters of every question about the records of this view. */
  get question() {
    return { q: this.query, tz: this.state.tz };
  }

  /** Returns the query of counts: with the range of time, or beside a live tail, the last minutes. */
  countQuery(q = this.state.q) {
    const { since, until, mode } = this.state;
    return mode === "live" ? within(q, LIVE_RANGE, "") : within(q, since, until);
  }

  #become(next) {
    const before = this.state;
    this.state = next;
    const changed = Object.keys(next).filter((name) => String(next[name]) !== String(before[name]));
    for (const [names, listener] of this.#listeners) {
      if (names.some((name) => changed.includes(name))) listener(changed);
    }
  }
}
