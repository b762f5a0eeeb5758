// The download of exactly the records of the view, with its size first.

import { Question, addressOf } from "./api.js";
import { byId, download } from "./dom.js";
import { counted, size } from "./text.js";

export class Export {
  #question = new Question();

  constructor(view) {
    this.view = view;
    this.popover = byId("export-popover");
    this.popover.addEventListener("toggle", (event) => {
      if (event.newState === "open") this.#showSize();
      else this.#question.stop();
    });
    byId("export-form").addEventListener("change", () => this.#showSize());
    byId("export-form").addEventListener("submit", (event) => {
      event.preventDefault();
      download(addressOf("/export", this.#parameters()));
      this.popover.hidePopover();
    });
  }

  #parameters() {
    const format = new FormData(byId("export-form")).get("format");
    return { ...this.view.question, format };
  }

  async #showSize() {
    const place = byId("export-size");
    byId("export-query").textContent = this.view.query || "all records";
    place.textContent = "Counting …";
    try {
      const answer = await this.#question.ask("/export/size", this.#parameters());
      if (!answer) return;
      const least = answer.complete ? "" : "More than ";
      place.textContent = `${least}${counted(answer.records, "record")}, about ${size(answer.bytes)}`;
    } catch (error) {
      place.textContent = error.message;
    }
  }
}
