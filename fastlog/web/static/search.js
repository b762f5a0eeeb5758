// The search: records newest first, page by page, as far as the user scrolls.

import { LIST_TEXT, Question, ask } from "./api.js";
import { fold } from "./folding.js";

const FIRST = 50,
  NEXT = 200;
// So many rows are ready below the last one in view.
const AHEAD = 100;
// Pages that a refresh reads to find where the known records begin.
const REFRESH_PAGES = 10;

export class Search {
  #question = new Question();
  #cursor = null;
  #isAsking = false;
  #last = 0;
  #ids = new Set();

  /** `onState({ isAsking, isComplete, scanned, records, error })` is called after each change. */
  constructor(view, list, onState) {
    this.view = view;
    this.list = list;
    this.onState = onState;
    this.isActive = false;
  }

  /** Starts anew: asks for the first records of the view. */
  async start() {
    this.isActive = true;
    this.#cursor = undefined;
    this.records = 0;
    this.scanned = 0;
    this.isStopped = false;
    this.#ids = new Set();
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
    if (this.isActive && !this.isStopped && !this.#isAsking) this.#fill();
  }

  /** Puts records that are new at the begin of the list. What is open stays open. */
  async refresh() {
    if (this.view.state.order !== "newest" || !this.records) return this.start();
    const fresh = [];
    let cursor;
    for (let page = 0; page < REFRESH_PAGES; page += 1) {
      const answer = await ask("/records", { ...this.#parameters(NEXT), cursor });
      const known = answer.records.findIndex((record) => this.#ids.has(record.id));
      fresh.push(...(known < 0 ? answer.records : answer.records.slice(0, known)));
      cursor = answer.cursor;
      if (known >= 0 || !cursor) {
        this.#note(fresh);
        this.list.list.prepend(this.#fold(fresh));
        return this.#tell();
      }
    }
    return this.start();
  }

  #parameters(limit) {
    return { ...this.view.question, order: this.view.state.order, limit, max_text: LIST_TEXT };
  }

  async #fill() {
    if (this.#cursor === null || this.#cursor === undefined || this.#isAsking) return;
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
    this.#show(answer.records, isFirst);
    this.#tell();
    await this.#fill();
  }

  #show(records, isFirst) {
    this.#note(records);
    if (isFirst) {
      this.list.scroller.scrollTop = 0;
      this.list.setRows(this.#fold(records));
      return;
    }
    const { rows } = this.list;
    const added = this.#fold(records, rows);
    const last = rows.at(-1);
    if (last?.isChanged) this.list.list.refresh(last);
    this.list.list.append(added);
  }

  #note(records) {
    this.records += records.length;
    for (const { id } of records) this.#ids.add(id);
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
      records: this.records,
      error,
    });
  }
}
