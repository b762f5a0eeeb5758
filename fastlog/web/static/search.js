// The search: records newest first, page by page, as far as the user scrolls.

import { LIST_TEXT, Question, ask } from "./api.js";
import { fold } from "./folding.js";
import { AHEAD, Pages } from "./pages.js";

const FIRST = 50,
  NEXT = 200;
// The most that the server sends at once.
const LIMIT = 1000;
// The newest records that a refresh looks for among those that it reads.
const NEWEST = 500;
// Pages that a refresh reads to find where the known records begin.
const REFRESH_PAGES = 10;

export class Search {
  #question = new Question();
  #cursor = null;
  #isAsking = false;
  #last = 0;
  #newest = new Set();

  /** `onState({ isAsking, isComplete, scanned, records, error })` is called after each change. */
  constructor(view, list, onState) {
    this.view = view;
    this.list = list;
    this.pages = new Pages(list.list);
    this.onState = onState;
    this.isActive = false;
  }

  /** Starts anew: asks for the first records of the view. */
  async start() {
    this.isActive = true;
    this.#cursor = undefined;
    this.pages.clear();
    this.scanned = 0;
    this.isStopped = false;
    this.#newest = new Set();
    await this.#more(FIRST, { isFirst: true });
  }

  stop() {
    this.isActive = false;
    this.#question.stop();
    this.#isAsking = false;
  }

  /** Stops reading on; scrolling or `resume` goes on. */
  pause() {
    this.isStopped = true;
    this.#question.stop();
    this.#isAsking = false;
    this.#tell();
  }

  resume() {
    this.isStopped = false;
    return this.#fill();
  }

  /** Is told which rows are in view, and asks for more where the end is near. */
  viewed(last) {
    this.#last = last;
    if (this.isActive && !this.#isAsking) this.#fill();
  }

  /** Puts records that are new at the start of the list. What is open stays open. */
  async refresh() {
    if (this.view.state.order !== "newest" || !this.pages.records) return this.start();
    const fresh = [];
    let cursor;
    for (let page = 0; page < REFRESH_PAGES; page += 1) {
      const { records, begin, ...next } = await ask("/records", { ...this.#parameters(NEXT), cursor });
      const known = records.findIndex((record) => this.#newest.has(record.id));
      fresh.push({ begin, records: known < 0 ? records : records.slice(0, known) });
      cursor = next.cursor;
      if (known >= 0 || !cursor) {
        for (const part of fresh.reverse()) this.#addFirst(part);
        return this.#tell();
      }
    }
    return this.start();
  }

  #addFirst({ begin, records }) {
    if (!records.length) return;
    this.#newest = new Set([...records.map(({ id }) => id), ...this.#newest].slice(0, NEWEST));
    this.pages.addFirst(begin, records.length, this.#fold(records));
  }

  #parameters(limit) {
    return { ...this.view.question, order: this.view.state.order, limit, max_text: LIST_TEXT };
  }

  async #fill() {
    if (this.#isAsking) return;
    const page = this.pages.wanted();
    if (page) return this.#reload(page);
    if (this.isStopped || this.#cursor === null || this.#cursor === undefined) return;
    if (this.list.rows.length - this.#last < AHEAD) await this.#more(NEXT);
  }

  async #more(limit, { isFirst = false } = {}) {
    this.#isAsking = true;
    this.#tell();
    let answer = null;
    try {
      answer = await this.#question.ask("/records", { ...this.#parameters(limit), cursor: this.#cursor });
    } catch (error) {
      this.#isAsking = false;
      this.#cursor = isFirst ? null : this.#cursor;
      this.isStopped = true;
      if (isFirst) this.list.setRows([]);
      return this.#tell(error);
    }
    if (!answer) return; // a newer question is being answered
    this.#isAsking = false;
    this.#cursor = answer.cursor;
    this.scanned = answer.complete ? 1 : answer.scanned;
    this.#show(answer, isFirst);
    this.#tell();
    await this.#fill();
  }

  /** Asks again for a page that is no longer in the list. */
  async #reload(page) {
    this.#isAsking = true;
    this.#tell();
    const found = [];
    let cursor = page.begin;
    const missing = () => page.skip + page.records - found.length;
    try {
      while (missing() > 0 && cursor) {
        const limit = Math.min(LIMIT, missing());
        const answer = await this.#question.ask("/records", { ...this.#parameters(limit), cursor });
        if (!answer) return;
        found.push(...answer.records);
        cursor = answer.cursor;
      }
    } catch (error) {
      this.#isAsking = false; // scrolling asks again
      return this.#tell(error);
    }
    this.#isAsking = false;
    this.pages.put(page, this.#fold(found.slice(page.skip)));
    this.#tell();
    await this.#fill();
  }

  #show({ records, begin }, isFirst) {
    if (isFirst) {
      this.#newest = new Set(records.map(({ id }) => id));
      this.list.scroller.scrollTop = 0;
      const made = this.#fold(records);
      this.pages.begin(begin, records.length, made);
      this.list.setRows(made);
      return;
    }
    const { rows } = this.list;
    const last = rows.at(-1);
    const before = last?.repeats?.length ?? 0;
    const added = this.#fold(records, rows);
    if (last?.isChanged) this.list.list.refresh(last);
    this.pages.add(begin, records.length, added, (last?.repeats?.length ?? 0) - before);
  }

  #fold(records, rows) {
    const apart = new Set(rows?.filter((row) => row.isApart).map((row) => row.record.id));
    const fresh = records.filter(({ id }) => !apart.has(id)); // a linked record is there already
    return fold(fresh, this.view.state.fold, (id) => this.list.isOpen(id), rows);
  }

  #tell(error = null) {
    this.onState({
      isAsking: this.#isAsking,
      isComplete: this.#cursor === null,
      isStopped: this.isStopped,
      scanned: this.scanned,
      records: this.pages.records,
      error,
    });
  }
}
