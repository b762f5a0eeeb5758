// The line above the list: how many records, what is being read, what waits, what is wrong.

import { byId } from "./dom.js";
import { counted, grouped } from "./text.js";

export class RecordsState {
  constructor(view, page) {
    this.view = view;
    this.page = page;
    this.line = byId("records-state");
    this.empty = byId("records-empty");
    this.waiting = byId("live-waiting");
    this.pause = byId("live-pause");
    this.pause.addEventListener("click", () => page.tail.togglePause());
    this.waiting.addEventListener("click", () => page.tail.follow());
    byId("read-on").addEventListener("click", () => page.search.resume());
    byId("read-stop").addEventListener("click", () => page.search.pause());
  }

  reset() {
    this.showError(null);
    this.empty.hidden = true;
    this.waiting.hidden = true;
    this.pause.hidden = this.view.state.mode !== "live";
    byId("read-on").hidden = byId("read-stop").hidden = true;
    byId("refresh").hidden = this.view.state.mode === "live";
  }

  /** Shows an error; null removes it. One of the query is shown beside its text. */
  showError(error) {
    if (error?.status === 401) location.reload(); // the session has ended: log in again
    this.page.box?.showError(error);
  }

  showSearch({ isAsking, isComplete, isStopped, scanned, records, error }) {
    this.showError(error);
    const isReadingOn = isAsking && scanned > 0 && scanned < 1;
    const part = `${grouped(Math.floor(scanned * 100))} % of the store read`;
    byId("read-stop").hidden = !isReadingOn;
    byId("read-on").hidden = !isStopped || isComplete;
    this.empty.hidden = isAsking || records > 0 || !isComplete || Boolean(error);
    this.empty.textContent = this.view.query
      ? "No records match. Widen the range of time, or remove a term of the query."
      : "No records yet. Type fastlog send hello in a terminal, or add" +
        " logging.handlers.SocketHandler(host, port) to a program, with the address of the server.";
    if (error) this.#say("");
    else if (isAsking && !records) this.#say(isReadingOn ? `Searching: ${part} …` : "Searching …");
    else if (isReadingOn) this.#say(`${counted(records, "record")} so far, ${part} …`);
    else
      this.#say(
        isComplete
          ? `${counted(records, "record")}, all that match`
          : `${counted(records, "record")} read; scroll for more`,
      );
  }

  showTail({ isPaused, waiting, dropped, rate, connection, error }) {
    if (error) this.showError(error);
    if (this.view.state.mode !== "live") return;
    const parts = [
      { live: "Live", connecting: "Connecting …", reconnecting: "Connection lost, trying again …" }[
        connection
      ],
    ];
    if (isPaused) parts[0] = "Paused";
    if (connection === "live")
      parts.push(`${rate < 10 && rate > 0 ? rate.toFixed(1) : grouped(Math.round(rate))} records/s`);
    if (dropped) parts.push(`${counted(dropped, "record")} not shown: too many at once`);
    this.#say(parts.join(" · "));
    this.line.dataset.live = isPaused ? "paused" : connection;
    this.pause.textContent = isPaused ? "Follow" : "Pause";
    this.waiting.hidden = !isPaused || !waiting;
    this.waiting.textContent = `${counted(waiting, "new record")} ↓`;
    this.empty.hidden =
      this.page.list.rows.length > 0 || isPaused || connection === "connecting" || Boolean(error);
    this.empty.textContent = "Waiting for records that match …";
  }

  #say(text) {
    // The rate of a live tail changes all the time: too often to be spoken.
    this.line.setAttribute("aria-live", this.view.state.mode === "live" ? "off" : "polite");
    if (this.line.textContent !== text) this.line.textContent = text;
    if (this.view.state.mode !== "live") delete this.line.dataset.live;
  }
}
