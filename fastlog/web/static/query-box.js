// The box with the query, and what is wrong with it.

import { byId } from "./dom.js";

export class QueryBox {
  /** `onSubmit()` is called when the user asks for the same query again. */
  constructor(view, onSubmit) {
    this.view = view;
    this.input = byId("query");
    this.error = byId("query-error");
    byId("query-form").addEventListener("submit", (event) => {
      event.preventDefault();
      const q = this.input.value.trim();
      if (q === view.state.q) onSubmit();
      else view.change({ q });
    });
    this.input.addEventListener("input", () => this.#grow());
    this.input.addEventListener("keydown", (event) => {
      if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
      event.preventDefault();
      byId("query-form").requestSubmit();
    });
    byId("query-clear").addEventListener("click", () => {
      view.change({ q: "" });
      this.input.focus();
    });
    view.on(["q"], () => this.#show());
    this.#show();
  }

  focus() {
    this.input.focus();
    this.input.select();
  }

  /** Shows an error, and where it is in the text; null removes it. */
  showError(error) {
    const isWrong = error !== null;
    this.error.hidden = !isWrong;
    this.error.replaceChildren();
    if (isWrong) this.input.setAttribute("aria-invalid", "true");
    else this.input.removeAttribute("aria-invalid");
    if (!isWrong) return;
    this.error.append(error.message);
    const { q } = this.view.state;
    const column = this.#columnIn(q, error);
    if (column === null) return;
    const place = document.createElement("code");
    const mark = document.createElement("mark");
    mark.textContent = q.slice(column, column + 1) || " ";
    place.append(q.slice(Math.max(0, column - 40), column), mark, q.slice(column + 1, column + 40));
    this.error.append(" ", place);
  }

  /** Returns where the error is in the text of the box, counted from 0. */
  #columnIn(q, { column }) {
    if (!column) return null;
    const { query } = this.view;
    const at = column - 1 - (query === q ? 0 : 1); // one parenthesis stands before it
    return at >= 0 && at <= q.length ? at : null;
  }

  #show() {
    this.input.value = this.view.state.q;
    byId("query-clear").hidden = !this.view.state.q;
    this.#grow();
  }

  #grow() {
    this.input.style.height = "auto";
    this.input.style.height = `${Math.min(this.input.scrollHeight + 2, 160)}px`;
  }
}
