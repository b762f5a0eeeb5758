// What the list shows: columns, wrapped lines, extras, folded repeats; and the theme.

import { byId, el } from "./dom.js";
import { DEFAULT_COLUMNS } from "./address.js";
import { COLUMNS } from "./record-line.js";
import { visible } from "./text.js";

const SWITCHES = ["wrap", "extras", "fold"];
const THEME = "fastlog.theme";

export class Options {
  #fields = [];

  constructor(view) {
    this.view = view;
    for (const name of SWITCHES) {
      byId(`option-${name}`).addEventListener("change", (event) =>
        view.change({ [name]: event.target.checked }),
      );
    }
    byId("option-order").addEventListener("change", (event) => view.change({ order: event.target.value }));
    byId("columns-reset").addEventListener("click", () => view.change({ columns: DEFAULT_COLUMNS }));
    view.on([...SWITCHES, "columns", "order"], () => this.#show());
    this.#show();
    showTheme();
    for (const button of byId("themes").children) {
      button.addEventListener("click", () => {
        localStorage.setItem(THEME, button.value);
        showTheme();
      });
    }
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", showTheme);
  }

  /** Offers the extras that the records of the view have as columns too. */
  offer(fields) {
    this.#fields = fields.filter(({ kind }) => kind === "extra").map(({ name }) => name);
    this.#show();
  }

  #show() {
    const { state } = this.view;
    for (const name of SWITCHES) byId(`option-${name}`).checked = state[name];
    byId("option-order").value = state.order;
    const names = [...new Set([...COLUMNS.keys(), ...this.#fields, ...state.columns])];
    byId("columns").replaceChildren(
      ...names.map((name) =>
        el(
          "label",
          {},
          el("input", {
            type: "checkbox",
            checked: state.columns.includes(name),
            value: name,
            on: { change: (event) => this.#choose(name, event.target.checked) },
          }),
          visible(COLUMNS.get(name) ?? name),
        ),
      ),
    );
  }

  #choose(name, isChosen) {
    const { columns } = this.view.state;
    const others = columns.filter((one) => one !== name);
    // The message takes the room that is left, and so stays last.
    const at = others.at(-1) === "message" && name !== "message" ? -1 : others.length;
    const next = isChosen ? others.toSpliced(at, 0, name) : others;
    this.view.change({ columns: next.length ? next : DEFAULT_COLUMNS });
    byId("columns")
      .querySelector(`input[value=${CSS.escape(name)}]`)
      ?.focus();
  }
}

/** Applies the theme that was chosen, or that of the system. */
function showTheme() {
  const chosen = localStorage.getItem(THEME) ?? "system";
  const isDark =
    chosen === "dark" || (chosen !== "light" && matchMedia("(prefers-color-scheme: dark)").matches);
  document.documentElement.dataset.theme = isDark ? "dark" : "light";
  for (const button of byId("themes").children)
    button.setAttribute("aria-pressed", String(button.value === chosen));
  dispatchEvent(new Event("themechange"));
}
