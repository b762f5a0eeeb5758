// The live tail: records as they arrive, newest last, in bounded memory.
//
// What arrives waits until the next drawing. While the user reads (has scrolled up, opened a record,
// or paused), it waits on, and is counted. What finds no room is dropped, and is counted too.

import { LIST_TEXT, addressOf, ask, parse } from "./api.js";
import { fold } from "./folding.js";
import { counted } from "./text.js";

const SHOWN = 20_000,
  WAITING = 10_000,
  CONTEXT = 100;
const DRAW_EVERY = 100,
  RECONNECT = 3000,
  SLEEP_AFTER = 60_000; // ms

export class Tail {
  #source = null;
  #waiting = [];
  #timer = 0;
  #ids = new Set();
  #arrivals = [];
  #lastId = "";

  /** `onState({ isPaused, waiting, dropped, rate, connection, error })` is called after changes. */
  constructor(view, list, onState) {
    this.view = view;
    this.list = list;
    this.onState = onState;
    this.isActive = false;
    list.scroller.addEventListener("scroll", () => this.#scrolled(), { passive: true });
    document.addEventListener("visibilitychange", () => this.#visibilityChanged());
  }

  async start() {
    this.stop();
    this.isActive = true;
    this.isPaused = this.isHeld = this.hasBegun = this.isAsleep = false;
    this.dropped = 0;
    this.#lastId = "";
    this.#waiting = [];
    this.#ids = new Set();
    this.list.list.sticksToEnd = true;
    this.connection = "connecting";
    this.#tell();
    this.#connect();
    const source = this.#source;
    try {
      const { records } = await ask("/records", {
        ...this.view.question,
        order: "newest",
        limit: CONTEXT,
        max_text: LIST_TEXT,
      });
      if (this.#source === source) this.#begin(records.reverse());
    } catch (error) {
      if (this.#source !== source) return;
      if (!isRefusal(error)) return this.#failed(source);
      this.stop();
      this.list.setRows([]);
      this.#tell(error);
    }
  }

  stop() {
    this.isActive = false;
    this.#source?.close();
    this.#source = null;
    clearTimeout(this.#timer);
    this.#timer = 0;
    this.list.list.sticksToEnd = false;
  }

  /** Lets records wait. While it is held, scrolling to the end does not end that. */
  pause({ isHeld = true } = {}) {
    if (!this.isActive) return;
    this.isHeld = isHeld;
    this.isPaused = true;
    this.list.list.sticksToEnd = false;
    this.#tell();
  }

  /** Shows what waits, and follows again. */
  follow() {
    if (!this.isActive) return;
    this.isPaused = false;
    this.list.list.sticksToEnd = true;
    this.#draw();
    this.list.list.scrollToEnd();
    this.#tell();
  }

  togglePause() {
    if (this.isPaused) this.follow();
    else this.pause();
  }

  #connect() {
    const source = new EventSource(
      addressOf("/tail", { ...this.view.question, max_text: LIST_TEXT, after: this.#lastId }),
    );
    this.#source = source;
    source.addEventListener("open", () => this.#connected("live"));
    source.addEventListener("error", () => this.#failed(source));
    source.addEventListener("records", (event) => {
      this.#lastId = event.lastEventId;
      this.#arrived(parse(event.data));
    });
    source.addEventListener("dropped", (event) => this.#drop(JSON.parse(event.data).dropped));
  }

  /** Connects again after a while: EventSource itself gives up after some errors. */
  #failed(source) {
    source.close();
    this.#connected("reconnecting");
    setTimeout(() => {
      if (this.#source === source && !this.isAsleep) this.#resume();
    }, RECONNECT);
  }

  /** Continues after the last record; from the start, if there was none. */
  #resume() {
    if (!this.#lastId) return this.start();
    const known = this.list.rows.flatMap(({ record, repeats = [] }) => (record ? [record, ...repeats] : []));
    this.#ids = new Set([...known, ...this.#waiting].map(({ id }) => id)); // the server may begin earlier
    this.#connect();
  }

  /** Closes the connection of a hidden tab after a minute: a browser has few for all its tabs. */
  #visibilityChanged() {
    clearTimeout(this.sleepTimer);
    if (!this.isActive) return;
    if (document.hidden) {
      this.sleepTimer = setTimeout(() => {
        this.isAsleep = true;
        this.#source?.close();
      }, SLEEP_AFTER);
    } else if (this.isAsleep) {
      this.isAsleep = false;
      this.#resume();
    }
  }

  #connected(connection) {
    this.connection = connection;
    this.#tell();
  }

  #begin(records) {
    for (const { id } of records) this.#ids.add(id);
    this.#lastId ||= records.at(-1)?.id ?? "";
    this.#waiting = this.#waiting.filter((one) => !one.id || !this.#ids.has(one.id));
    this.list.setRows(this.#rows(records, []));
    this.list.list.scrollToEnd();
    this.#ids = new Set(); // the stream itself repeats nothing
    this.hasBegun = true;
    this.#schedule();
  }

  #arrived(records) {
    this.#arrivals.push([performance.now(), records.length]);
    for (const record of records) if (!this.#ids.has(record.id)) this.#waiting.push(record);
    const excess = this.#waiting.length - WAITING;
    if (excess > 0) this.#forget(excess);
    this.#schedule();
  }

  /** Drops the records that wait longest; a note in the list takes their place. */
  #forget(count) {
    const forgotten = this.#waiting.splice(0, count + 1);
    const records = forgotten.filter((one) => !one.gap).length;
    this.dropped += records;
    this.#waiting.unshift({ gap: forgotten.reduce((sum, one) => sum + (one.gap ?? 0), records) });
  }

  #drop(count) {
    const last = this.#waiting.at(-1);
    if (last?.gap) last.gap += count;
    else this.#waiting.push({ gap: count });
    this.dropped += count;
    this.#arrivals.push([performance.now(), count]);
    this.#schedule();
  }

  #schedule() {
    this.#timer ||= setTimeout(() => {
      this.#timer = 0;
      if (this.isActive && !this.isPaused) this.#draw();
      this.#tell();
    }, DRAW_EVERY);
  }

  #draw() {
    if (!this.hasBegun) return;
    const arrived = this.#waiting;
    this.#waiting = [];
    if (!arrived.length) return;
    const { rows, list } = this.list;
    const added = this.#rows(arrived, rows);
    if (rows.at(-1)?.isChanged) list.refresh(rows.at(-1));
    list.append(added);
    const excess = excessOf(rows);
    if (excess > 0) list.dropFirst(excess);
    list.scrollToEnd();
  }

  #rows(arrived, rows) {
    const made = [];
    let run = [];
    const end = () => {
      made.push(...fold(run, this.view.state.fold, (id) => this.list.isOpen(id), made.length ? made : rows));
      run = [];
    };
    for (const one of arrived) {
      if (!one.gap) {
        run.push(one);
        continue;
      }
      end();
      made.push({
        key: `gap ${gapNumber++}`,
        text: `${counted(one.gap, "record")} not shown here: too many at once. Search finds them.`,
      });
    }
    end();
    return made;
  }

  #scrolled() {
    if (!this.isActive || !this.hasBegun) return;
    if (this.isPaused && this.list.list.isAtEnd && !this.isHeld) this.follow();
    else if (!this.isPaused && !this.list.list.isAtEnd) this.pause({ isHeld: false });
  }

  get waiting() {
    return this.#waiting.filter((one) => !one.gap).length;
  }

  get rate() {
    const since = performance.now() - 3000;
    this.#arrivals = this.#arrivals.filter(([at]) => at > since);
    return this.#arrivals.reduce((sum, [, count]) => sum + count, 0) / 3;
  }

  #tell(error = null) {
    const { isPaused, waiting, dropped, rate, connection } = this;
    this.onState({ isPaused, waiting, dropped, rate, connection, error });
  }
}

let gapNumber = 0;

/** Returns how many of the first rows to drop, so that the list holds no more records than it may. */
function excessOf(rows) {
  const recordsOf = ({ repeats = [] }) => 1 + repeats.length;
  let records = rows.reduce((sum, row) => sum + recordsOf(row), 0);
  let count = 0;
  for (; records > SHOWN && count < rows.length - 1; count += 1) records -= recordsOf(rows[count]);
  return count;
}

/** Returns whether the server does not want to answer, rather than cannot at present. */
function isRefusal(error) {
  return error.status >= 400 && error.status < 500 && error.status !== 429;
}
