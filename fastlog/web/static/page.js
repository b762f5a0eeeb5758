// The page: puts its parts together, and starts what the view asks for.

import { Export } from "./export.js";
import { Facets } from "./facets.js";
import { Histogram } from "./histogram.js";
import { listen } from "./keyboard.js";
import { Options } from "./options.js";
import { Problems } from "./problems.js";
import { QueryBox } from "./query-box.js";
import { Range } from "./range.js";
import { RecordDetail } from "./record-detail.js";
import { RecordList } from "./record-list.js";
import { RecordsState } from "./records-state.js";
import { SavedSearches } from "./saved-searches.js";
import { Search } from "./search.js";
import { Status } from "./status.js";
import { Tail } from "./tail.js";
import { View } from "./view.js";
import { byId, el } from "./dom.js";
import { exclude, include } from "./query-text.js";
import { levelTerm } from "./levels.js";
import { login } from "./session.js";
import { showLinked } from "./linked-record.js";
import { visible } from "./text.js";

// How often counts follow the live tail, in ms.
const LIVE_COUNTS = 5000;
const HISTOGRAM_FIELDS = ["level", "logger", "host", "process", "module"];

class Page {
  constructor() {
    const view = new View();
    this.view = view;
    this.isNew = true; // shows what the address asks for, and not yet what the user chose
    this.detail = new RecordDetail(view, (...filter) => this.filter(...filter));
    this.list = new RecordList(view, byId("records"), byId("list-header"), {
      detailOf: (record) => this.detail.make(record),
      onView: (first, last) => this.search.viewed(first, last),
      onOpen: () => this.tail.pause(),
    });
    this.state = new RecordsState(view, this);
    this.search = new Search(view, this.list, (state) => this.state.showSearch(state));
    this.tail = new Tail(view, this.list, (state) => this.state.showTail(state));
    this.problems = new Problems(view, byId("problems"), (record) => this.detail.make(record));
    this.histogram = new Histogram(view, byId("histogram"), {
      legend: byId("histogram-legend"),
      readout: byId("histogram-readout"),
      title: byId("histogram-title"),
      onInclude: (field, value) => this.filter(field, value, false),
    });
    this.facets = new Facets(view, byId("facet-list"), byId("facet-field"), (...filter) =>
      this.filter(...filter),
    );
    this.box = new QueryBox(view, () => this.refresh());
    this.options = new Options(view);
    new Range(view);
    new SavedSearches(view);
    new Export(view);
    this.facets.onFields = (fields) => this.#offerFields(fields);
    this.#connect();
    this.#offerFields([]);
  }

  /** Edits the query, so that it includes or excludes a value. */
  filter(field, value, isExcluded) {
    const { q } = this.view.state;
    const wanted = field === "level" && value !== null ? levelTerm(String(value)) : [field, value];
    this.view.change({ q: (isExcluded ? exclude : include)(q, ...wanted) });
  }

  /** Shows what the view asks for, from the start. */
  async run() {
    const { mode } = this.view.state;
    for (const button of byId("modes").children) {
      if (button.value === mode) button.setAttribute("aria-current", "page");
      else button.removeAttribute("aria-current");
    }
    document.body.dataset.mode = mode;
    byId("records-part").hidden = mode === "problems";
    byId("problems").hidden = mode !== "problems";
    this.search.stop();
    this.tail.stop();
    this.problems.stop();
    this.state.reset();
    if (mode === "problems") await this.problems.load((error) => this.state.showError(error));
    else if (mode === "live") await this.tail.start();
    else await this.search.start();
    this.count();
    const isLinked = this.isNew && mode === "search";
    this.isNew = false;
    if (isLinked) await showLinked(this.view, this.list);
    else this.#forgetGone();
  }

  /** Forgets open records that another query does not find. */
  #forgetGone() {
    if (!this.view.state.open.length) return;
    const here = new Set(this.list.rows.map((row) => row.record?.id));
    this.view.change({ open: this.view.state.open.filter((id) => here.has(id)) });
  }

  /** Asks for counts anew: the histogram and the facets. */
  count() {
    this.histogram.load();
    this.facets.load();
  }

  /** Asks again, and keeps what is open. */
  async refresh() {
    const { mode } = this.view.state;
    if (mode === "problems") return this.run();
    if (mode === "live") this.tail.follow();
    else {
      try {
        await this.search.refresh();
      } catch (error) {
        this.state.showError(error);
      }
    }
    this.count();
  }

  #connect() {
    const { view } = this;
    view.on(["mode", "q", "since", "until", "order", "fold"], () => this.run());
    view.on(["all"], () => (view.state.mode === "problems" ? this.run() : null));
    view.on(["tz"], () => (/^$|Z$/.test(view.state.since + view.state.until) ? null : this.run()));
    view.on(["by"], () => this.histogram.load());
    byId("modes").addEventListener("click", (event) => {
      const button = event.target.closest("button");
      if (button) view.change({ mode: button.value });
    });
    byId("histogram-by").addEventListener("change", (event) => view.change({ by: event.target.value }));
    byId("refresh").addEventListener("click", () => this.refresh());
    byId("help-button").addEventListener("click", () => byId("help").showModal());
    byId("facets-button").addEventListener("click", () => this.#toggleFacets());
    setInterval(() => {
      if (view.state.mode === "live" && !document.hidden && !this.tail.isPaused) this.count();
    }, LIVE_COUNTS);
    listen({
      "/": () => this.box.focus(),
      j: () => this.list.move(1),
      k: () => this.list.move(-1),
      Enter: () => this.list.toggleSelected(),
      " ": () => this.tail.togglePause(),
      "?": () => byId("help").showModal(),
      r: () => this.refresh(),
      l: () => view.change({ mode: "live" }),
      s: () => view.change({ mode: "search" }),
      p: () => view.change({ mode: "problems" }),
      w: () => view.change({ wrap: !view.state.wrap }),
      e: () => view.change({ extras: !view.state.extras }),
    });
  }

  #toggleFacets() {
    const isOpen = document.body.classList.toggle("facets-open");
    byId("facets-button").setAttribute("aria-expanded", String(isOpen));
  }

  #offerFields(fields) {
    this.options.offer(fields);
    const extras = fields.filter(({ kind }) => kind === "extra").map(({ name }) => name);
    const names = [...new Set([...HISTOGRAM_FIELDS, ...extras, this.view.state.by])];
    byId("histogram-by").replaceChildren(
      ...names.map((name) =>
        el("option", { value: name, selected: name === this.view.state.by }, visible(name)),
      ),
    );
  }
}

const page = new Page();
await login();
new Status(page.view);
await page.run();
