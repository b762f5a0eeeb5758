// The range of time, and the zone in which times are shown and understood.

import { byId, el } from "./dom.js";
import { leaveLive } from "./address.js";
import { dayAndTime, offsetOf, zones } from "./times.js";

const RELATIVE = [
  ["15min", "Last 15 minutes"],
  ["1h", "Last hour"],
  ["6h", "Last 6 hours"],
  ["24h", "Last 24 hours"],
  ["7d", "Last 7 days"],
  ["30d", "Last 30 days"],
  ["today", "Today"],
  ["", "All time"],
];

export class Range {
  constructor(view) {
    this.view = view;
    this.button = byId("range-button");
    this.popover = byId("range-popover");
    this.since = byId("range-since");
    this.until = byId("range-until");
    byId("range-presets").append(
      ...RELATIVE.map(([since, name]) =>
        el(
          "button",
          {
            type: "button",
            data: { since },
            on: { click: () => this.#choose(since, "") },
          },
          name,
        ),
      ),
    );
    byId("range-form").addEventListener("submit", (event) => {
      event.preventDefault();
      this.#choose(this.since.value.trim(), this.until.value.trim());
    });
    for (const [id, field] of [
      ["pick-since", this.since],
      ["pick-until", this.until],
    ]) {
      byId(id).addEventListener("change", (event) => {
        field.value = event.target.value;
      });
    }
    this.#showZones();
    view.on(["since", "until", "tz", "mode"], () => this.#show());
    this.#show();
  }

  #choose(since, until) {
    this.popover.hidePopover();
    this.view.change({ since, until, mode: leaveLive(this.view.state.mode) });
  }

  #show() {
    const { since, until, tz, mode } = this.view.state;
    this.since.value = since;
    this.until.value = until;
    this.button.querySelector("span").textContent =
      mode === "live" ? "From now on" : nameOf(since, until, tz);
    for (const button of byId("range-presets").children) {
      button.setAttribute("aria-pressed", String(!until && button.dataset.since === since));
    }
    byId("zone").value = tz;
    byId("zone-offset").textContent = offsetOf(tz);
    byId("zoom-out").hidden = (!since && !until) || mode === "live";
  }

  #showZones() {
    const { view } = this;
    const select = byId("zone");
    const names = [...new Set([view.state.tz, ...zones()])];
    select.append(...names.map((name) => el("option", { value: name }, name.replaceAll("_", " "))));
    select.addEventListener("change", () => view.change({ tz: select.value }));
    byId("zoom-out").addEventListener("click", () => view.change({ since: "", until: "" }));
  }
}

function nameOf(since, until, zone) {
  const known = RELATIVE.find(([value]) => value === since);
  if (!until && known) return known[1];
  if (!until) return `Since ${short(since, zone)}`;
  return since ? `${short(since, zone)} – ${short(until, zone)}` : `Until ${short(until, zone)}`;
}

/** Returns an exact time in the zone of the view, and all else as it was written. */
function short(text, zone) {
  if (!/^\d{4}-\d\d-\d\dT[\d:.]+Z$/.test(text)) return text.replace("T", " ");
  return dayAndTime(Date.parse(text) / 1000, zone, 0).join(" ");
}
