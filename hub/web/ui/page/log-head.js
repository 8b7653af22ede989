/**
 * What stands above a log: its name, how it is, and its tabs.
 */

import { h, setText } from "./dom.js";
import { counted, size } from "./format.js";

/** The hash of a view that reads all of a large log, for its plot. */
export const ALL = "#all";

const STATES = {
  reading: "Reading",
  live: "Live",
  waiting: "Reconnecting",
  paused: "Paused",
  resting: "Reads on as you scroll",
  failed: "Stopped",
};

export class LogHead {
  /**
   * @param {import("./source.js").Source} source
   * @param {"events" | "fold"} tab
   */
  constructor(source, tab) {
    this.state = h("span.state", { role: "status" });
    this.facts = h("p.summary");
    this.all = h("a.chip", { hidden: true, href: source.with({}, ALL).href }, "Read all of them");
    this.progress = h("progress", { hidden: true, "aria-label": "Read so far" });
    const link = (name, text, hash) =>
      h("a", { href: source.with({}, hash).href, "aria-current": tab === name && "page" }, text);
    const data = source.read;
    data.searchParams.set("format", source.isStream ? "ndjson" : "tsv");
    this.element = h(
      "header.log-head",
      {},
      h("div.title-line", {}, h("h1", {}, source.title), this.state, this.facts, this.all),
      h(
        "nav.tabs",
        { "aria-label": "Views of this log" },
        link("events", "Events", ""),
        link("fold", "Fold", "#fold"),
        h("a", { href: data.href, target: "_blank", rel: "noopener" }, "Raw"),
      ),
      this.progress,
    );
  }

  /** @param {keyof typeof STATES} state */
  tell(state, why = "") {
    this.state.dataset.state = state;
    setText(this.state, why || STATES[state]);
  }

  /** @param {{count: number, total?: number, bytes?: number}} known */
  tellFacts({ count, total, bytes }) {
    const parts = [
      total > count ? `${counted(count, "event")} of ${total.toLocaleString("en")}` : counted(count, "event"),
    ];
    if (bytes) parts.push(size(bytes));
    setText(this.facts, parts.join(" · "));
  }

  /** How far reading is, from 0 to 1; NaN: nobody knows; 1: through. */
  advance(share) {
    this.progress.hidden = share >= 1;
    if (Number.isNaN(share)) this.progress.removeAttribute("value");
    else this.progress.value = share;
  }
}
