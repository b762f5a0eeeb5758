// Searches that the user gave a name, kept in this browser.

import { read, write } from "./address.js";
import { announce, byId, el } from "./dom.js";

const KEY = "fastlog.searches";

export class SavedSearches {
  constructor(view) {
    this.view = view;
    byId("save-form").addEventListener("submit", (event) => {
      event.preventDefault();
      this.#save(byId("save-name").value.trim());
    });
    byId("saved-popover").addEventListener("toggle", () => this.#show());
    this.#show();
  }

  #load() {
    try {
      const found = JSON.parse(localStorage.getItem(KEY) ?? "[]");
      return Array.isArray(found)
        ? found.filter((one) => typeof one?.name === "string" && typeof one?.address === "string")
        : [];
    } catch {
      return [];
    }
  }

  #store(searches) {
    try {
      localStorage.setItem(KEY, JSON.stringify(searches));
    } catch {
      announce("Not saved: this browser keeps no data for this page.");
    }
    this.#show();
  }

  #save(name) {
    if (!name) return;
    const others = this.#load().filter((one) => one.name !== name);
    this.#store([...others, { name, address: write({ ...this.view.state, open: [] }) }]);
    byId("save-name").value = "";
    announce(`Saved as ${name}.`);
  }

  #show() {
    const searches = this.#load();
    byId("saved-list").replaceChildren(
      ...searches.map(({ name, address }) =>
        el(
          "li",
          {},
          el(
            "button",
            {
              type: "button",
              class: "saved-open",
              on: {
                click: () => {
                  byId("saved-popover").hidePopover();
                  this.view.change(read(address.startsWith("?") ? address : ""));
                },
              },
            },
            name,
          ),
          el(
            "button",
            {
              type: "button",
              class: "remove",
              "aria-label": `Delete ${name}`,
              on: { click: () => this.#store(this.#load().filter((one) => one.name !== name)) },
            },
            "×",
          ),
        ),
      ),
    );
    byId("saved-none").hidden = searches.length > 0;
  }
}
