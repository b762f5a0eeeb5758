// The histogram over time: stacked bars by level or by any field. Dragging zooms.

import uPlot from "./vendor/uplot/uPlot.esm.js";
import { LONGEST_VALUE, Question } from "./api.js";
import { leaveLive } from "./address.js";
import { el } from "./dom.js";
import { colourOf, levelOf, rank } from "./levels.js";
import { grouped, visible, cut } from "./text.js";
import { asQueryTime, dayAndTime, span } from "./times.js";

const BARS = 80,
  HEIGHT = 112,
  SERIES = 7;
const REST = "(others)"; // also the name that the server gives to rare values

export class Histogram {
  #question = new Question();
  #plot = null;
  #answer = null;

  /** `onInclude(field, value)` is called for a click on a name of the legend. */
  constructor(view, place, { legend, readout, title, onInclude }) {
    Object.assign(this, { view, place, legend, readout, title, onInclude });
    new ResizeObserver(() => this.#resize()).observe(place);
    view.on(["tz"], () => this.#draw());
    addEventListener("themechange", () => this.#draw());
    this.#clear("Counting …");
  }

  /** Asks anew for the records of the view. */
  async load() {
    const { by } = this.view.state;
    this.place.setAttribute("aria-busy", "true");
    try {
      const answer = await this.#question.ask("/histogram", {
        q: this.view.countQuery(),
        tz: this.view.state.tz,
        bars: BARS,
        by,
      });
      if (!answer) return;
      this.#answer = { ...answer, bars: withEmpty(answer.bars, answer) };
      this.#draw();
    } catch (error) {
      this.#answer = null;
      this.#clear(error.status === 400 ? "Not counted" : error.message); // the box shows a mistake
    }
    this.place.removeAttribute("aria-busy");
  }

  #clear(text) {
    this.#plot?.destroy();
    this.#plot = null;
    this.legend.replaceChildren();
    this.title.textContent = text;
    this.place.setAttribute("aria-label", this.title.textContent);
  }

  #draw() {
    const answer = this.#answer;
    if (!answer) return;
    const totals = totalsOf(answer.bars);
    if (!totals.size) return this.#clear("No records in this range");
    const names = this.#series(totals);
    const columns = names.map((name) => answer.bars.map((bar) => countIn(bar, name, names)));
    this.#plot?.destroy();
    this.columns = columns;
    this.names = names;
    this.#plot = new uPlot(
      this.#options(names),
      [answer.bars.map((bar) => bar.begin), ...stacked(columns)],
      this.place,
    );
    this.#describe(totals, names);
  }

  #series(totals) {
    const names = [...totals.keys()].filter((name) => name !== REST);
    const rest = totals.has(REST) ? [REST] : [];
    if (this.view.state.by === "level") return [...names.sort((a, b) => rank(a) - rank(b)), ...rest];
    names.sort((a, b) => totals.get(b) - totals.get(a));
    return names.length + rest.length <= SERIES ? [...names, ...rest] : [...names.slice(0, SERIES - 1), REST];
  }

  #describe(totals, names) {
    const all = [...totals.values()].reduce((sum, count) => sum + count, 0);
    const { complete, first, end, interval } = this.#answer;
    const [fromDay, from] = dayAndTime(first, this.view.state.tz, 0);
    const [toDay, to] = dayAndTime(end, this.view.state.tz, 0);
    const records = `${complete ? "" : "more than "}${grouped(all)} record${all === 1 ? "" : "s"}`;
    const range = `${fromDay} ${from} to ${toDay === fromDay ? "" : `${toDay} `}${to}, ${span(interval)} a bar`;
    this.title.replaceChildren(records, el("span", { class: "quiet" }, ` ${range}`));
    this.place.setAttribute("aria-label", `Histogram: ${this.title.textContent}`);
    this.legend.replaceChildren(
      ...names.map((name, at) => {
        const count =
          name === REST
            ? all - names.slice(0, -1).reduce((sum, one) => sum + totals.get(one), 0)
            : totals.get(name);
        const swatch = el("span", { class: "swatch", "aria-hidden": "true" });
        swatch.style.background = this.#colour(name, at);
        const shown = visible(cut(name || "(none)", 40));
        return el(
          "li",
          {},
          el(
            "button",
            {
              type: "button",
              disabled: name === REST || name.length > LONGEST_VALUE,
              title: name === REST ? null : `Include ${shown}`,
              on: { click: () => this.onInclude(this.view.state.by, name || null) },
            },
            swatch,
            el("bdi", {}, shown),
            el("span", { class: "quiet" }, ` ${grouped(count)}`),
          ),
        );
      }),
    );
  }

  #colour(name, at) {
    if (this.view.state.by === "level") return colourOf(levelOf(null, name).kind);
    return getComputedStyle(document.documentElement)
      .getPropertyValue(`--series-${at % 7}`)
      .trim();
  }

  #options(names) {
    const style = getComputedStyle(document.documentElement);
    const [quiet, grid] = ["--quiet", "--line"].map((name) => style.getPropertyValue(name).trim());
    const { first, end, interval, bars } = this.#answer;
    const axis = {
      stroke: quiet,
      grid: { stroke: grid, width: 1 },
      ticks: { stroke: grid, width: 1, size: 4 },
      font: "11px system-ui",
    };
    const paths = uPlot.paths.bars({ size: [0.86, 60], align: 1 });
    return {
      width: this.place.clientWidth || 600,
      height: HEIGHT,
      legend: { show: false },
      padding: [8, 28, 0, 0], // half of the last time, which stands below the end
      tzDate: (epoch) => uPlot.tzDate(new Date(epoch * 1000), this.view.state.tz),
      scales: {
        x: {
          range: () => [bars[0]?.begin ?? first, Math.max(end, (bars.at(-1)?.begin ?? first) + interval)],
        },
        y: { range: (_, low, high) => [0, Math.max(1, high)] },
      },
      axes: [
        { ...axis, space: 70, size: 26, values: AXIS_TIMES },
        { ...axis, size: 46, space: 28, incrs: WHOLE, values: (_, counts) => counts.map(short) },
      ],
      // The highest stack is drawn first, and the next ones over it.
      series: [
        {},
        ...names.map((name, at) => ({
          fill: this.#colour(name, at),
          width: 0,
          paths,
          points: { show: false },
        })),
      ],
      cursor: { y: false, points: { show: false }, drag: { x: true, y: false, setScale: false, dist: 5 } },
      hooks: {
        setCursor: [(plot) => this.#read(plot)],
        setSelect: [(plot) => this.#zoom(plot)],
      },
    };
  }

  #read(plot) {
    const { left } = plot.cursor;
    const { bars, interval } = this.#answer;
    if (left === null || left < 0) {
      this.readout.textContent = "";
      return;
    }
    const at = plot.posToVal(left, "x");
    const index = bars.findIndex((bar) => bar.begin <= at && at < bar.begin + interval);
    if (index < 0) return;
    const digits = interval < 1 ? 3 : 0;
    const [day, from] = dayAndTime(bars[index].begin, this.view.state.tz, digits);
    const [, to] = dayAndTime(bars[index].begin + interval, this.view.state.tz, digits);
    const counts = this.names
      .map((name, series) => [name, this.columns[series][index]])
      .filter(([, count]) => count);
    this.readout.textContent = `${day} ${from} – ${to}  ${counts.map(([name, count]) => `${cut(visible(name || "(none)"), 30)} ${grouped(count)}`).join("  ") || "none"}`;
  }

  #zoom(plot) {
    const { left, width } = plot.select;
    if (width < 5) return;
    const [since, until] = [left, left + width].map((x) => plot.posToVal(x, "x"));
    plot.setSelect({ left: 0, width: 0, top: 0, height: 0 }, false);
    this.view.change({
      since: asQueryTime(since),
      until: asQueryTime(until),
      mode: leaveLive(this.view.state.mode),
    });
  }

  #resize() {
    if (this.#plot && this.place.clientWidth)
      this.#plot.setSize({ width: this.place.clientWidth, height: HEIGHT });
  }
}

const WHOLE = [1, 2, 5]
  .flatMap((step) => Array.from({ length: 10 }, (_, power) => step * 10 ** power))
  .sort((a, b) => a - b);
const AXIS_TIMES = [
  [86400 * 28, "{YYYY}-{MM}", null, null, null, null, null, null, 1],
  [86400, "{MM}-{DD}", "\n{YYYY}", null, null, null, null, null, 1],
  [60, "{HH}:{mm}", "\n{YYYY}-{MM}-{DD}", null, "\n{MM}-{DD}", null, null, null, 1],
  [1, "{HH}:{mm}:{ss}", "\n{YYYY}-{MM}-{DD}", null, "\n{MM}-{DD}", null, null, null, 1],
  [0.001, ":{ss}.{fff}", "\n{HH}:{mm}", null, "\n{MM}-{DD}", null, "\n{HH}:{mm}", null, 1],
];

/** Returns the bars with the empty ones between them, so that each is as wide as its interval. */
function withEmpty(bars, { first, end, interval }) {
  const all = [];
  const fillTo = (time) => {
    let next = all.length ? all.at(-1).begin + interval : first;
    for (; next < time - interval / 2 && all.length < 2000; next += interval)
      all.push({ begin: next, counts: {} });
  };
  for (const bar of bars) {
    fillTo(bar.begin);
    all.push(bar);
  }
  if (bars.length) fillTo(end);
  return all;
}

function totalsOf(bars) {
  const totals = new Map();
  for (const bar of bars)
    for (const [name, count] of Object.entries(bar.counts)) totals.set(name, (totals.get(name) ?? 0) + count);
  return totals;
}

function countIn(bar, name, names) {
  if (name !== REST || !names.includes(REST)) return Object.hasOwn(bar.counts, name) ? bar.counts[name] : 0;
  return Object.entries(bar.counts).reduce(
    (sum, [one, count]) => (one !== REST && names.includes(one) ? sum : sum + count),
    0,
  );
}

/** Returns each column with all after it added: the first is the highest. */
function stacked(columns) {
  const sums = columns.at(-1).map(() => 0);
  return columns
    .toReversed()
    .map((column) => column.map((count, at) => (sums[at] += count)))
    .toReversed();
}

function short(count) {
  if (count >= 1e6) return `${+(count / 1e6).toFixed(1)}M`;
  return count >= 1e3 ? `${+(count / 1e3).toFixed(1)}k` : String(count);
}
