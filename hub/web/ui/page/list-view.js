/**
 * All channels and streams: name, events, size, age of the last event, events a second.
 *
 * One request at a time, for at most a thousand of them; so this view takes one connection,
 * and that only for moments. Of tens of thousands, those in view are asked for more often.
 */

import { h, onceAFrame, setText } from "./dom.js";
import { age, count, counted, rate, size } from "./format.js";
import { listStreams, pathOf } from "./hub-api.js";
import { pause, poll } from "./polling.js";
import { RateMeter } from "./rate-meter.js";
import { drawSparkline, sparkline } from "./sparkline.js";
import { VirtualList } from "./virtual.js";

const EVERY = 2000;
const PAGE = 1000;
const NEAR = 100;
const GAP = 50;

const ORDERS = {
  name: (a, b) => (a.stream < b.stream ? -1 : 1),
  events: (a, b) => b.version - a.version,
  size: (a, b) => (b.metadata.bytes ?? 0) - (a.metadata.bytes ?? 0),
  last: (a, b) => (b.metadata.lastTime ?? 0) - (a.metadata.lastTime ?? 0),
};
const COLUMNS = [
  ["name", "Name"],
  ["events", "Events"],
  ["size", "Size"],
  ["last", "Last"],
];

/** @param {{url: URL, navigate: (url: string | URL, how?: object) => void}} place */
export function openList({ url, navigate }) {
  const view = new ListView(url, navigate);
  return { element: view.element, title: "", close: () => view.close() };
}

class ListView {
  #entries = new Map();
  #shown = [];
  #loaded = false;
  #ended = new AbortController();

  constructor(url, navigate) {
    this.navigate = navigate;
    this.order = url.searchParams.get("by") in ORDERS ? url.searchParams.get("by") : "name";
    this.search = h("input", {
      type: "search",
      placeholder: "Search names",
      "aria-label": "Search names",
      value: url.searchParams.get("q") ?? "",
      autocomplete: "off",
      spellcheck: "false",
      onInput: () => this.#searched(),
      onKeydown: (event) => this.#press(event),
    });
    this.summary = h("p.summary", { role: "status" }, "…");
    this.list = new VirtualList({
      label: "Channels and streams",
      draw: (number, row) => this.#draw(this.#shown[number], row),
      onOpen: (number) => navigate(pathOfEntry(this.#shown[number])),
    });
    this.empty = h("div.empty", { hidden: true });
    this.heads = COLUMNS.map(([key, text]) =>
      h("button.column", { type: "button", data: { key }, onClick: () => this.#sort(key) }, text),
    );
    this.element = h(
      "section.list-view",
      {},
      h(
        "div.list-head",
        {},
        h("div.title-line", {}, h("h1", {}, "Streams"), this.summary),
        h("div.search", {}, this.search, h("kbd", {}, "/")),
      ),
      h(
        "nav.shortcuts",
        { "aria-label": "Views" },
        h("a.chip", { href: "/streams/_all" }, "All events together"),
      ),
      h("div.columns", {}, ...this.heads, h("span.column.rate-head", {}, "Events a second")),
      this.list.element,
      this.empty,
    );
    this.refresh = onceAFrame(() => this.#refresh());
    this.#markOrder();
    poll(EVERY, (signal) => this.#load(signal), this.#ended.signal);
    // Ages grow, also when nothing happens.
    poll(1000, async () => this.list.redraw(), this.#ended.signal);
  }

  close() {
    this.#ended.abort();
    this.list.close();
  }

  async #load(signal) {
    try {
      if (!this.#loaded || this.#entries.size <= PAGE) await this.#loadAll(signal);
      else await this.#loadSome(signal);
    } catch (error) {
      signal.throwIfAborted();
      setText(this.summary, `The hub does not answer: ${error.message}`);
    }
  }

  async #loadAll(signal) {
    const seen = new Set();
    let after = "";
    for (;;) {
      const page = await listStreams({ after, limit: String(PAGE) }, signal);
      for (const each of page) {
        seen.add(each.stream);
        this.#take(each);
      }
      this.refresh();
      if (page.length < PAGE) break;
      after = page.at(-1).stream;
      await pause(GAP, signal);
    }
    for (const name of this.#entries.keys()) if (!seen.has(name)) this.#entries.delete(name);
    this.#loaded = true;
    this.refresh();
  }

  // What is in view if it is together in the order of names; and one page of the rest, in turn.
  async #loadSome(signal) {
    const inView = this.#shown
      .slice(this.list.top, this.list.bottom)
      .map((each) => each.stream)
      .sort();
    if (inView.length && this.order === "name") {
      const before = inView[0].slice(0, -1);
      for (const each of await listStreams({ after: before, limit: String(NEAR) }, signal)) this.#take(each);
    }
    const page = await listStreams({ after: this.turn ?? "", limit: String(PAGE) }, signal);
    for (const each of page) this.#take(each);
    this.turn = page.length < PAGE ? "" : page.at(-1).stream;
    this.refresh();
  }

  #take(told) {
    const entry = this.#entries.get(told.stream) ?? { meter: new RateMeter() };
    entry.meter.take(told.version, performance.now());
    this.#entries.set(told.stream, Object.assign(entry, told));
  }

  #refresh() {
    const words = this.search.value.toLowerCase().split(/\s+/).filter(Boolean);
    const all = [...this.#entries.values()];
    const shown = words.length
      ? all.filter(({ stream }) => words.every((each) => stream.toLowerCase().includes(each)))
      : all;
    const same = ORDERS[this.order];
    this.#shown = shown.sort((a, b) => same(a, b) || ORDERS.name(a, b));
    this.list.update(0, this.#shown.length);
    this.list.redraw();
    this.#tell(all);
  }

  #tell(all) {
    const events = all.reduce((sum, each) => sum + (each.derived ? 0 : each.version), 0);
    const found = this.#shown.length === all.length ? "" : `${count(this.#shown.length)} of `;
    setText(this.summary, `${found}${counted(all.length, "stream")} · ${counted(events, "event")}`);
    this.empty.hidden = !this.#loaded || this.#shown.length > 0;
    if (this.empty.hidden) return;
    const line = `echo Hello | curl -d @- '${location.origin}/a-channel?event=greeting'`;
    const nothing = all.length
      ? [h("p", {}, "No name has all of these words.")]
      : [
          h("h2", {}, "Nothing here yet"),
          h("p", {}, "Post a first event, and it appears:"),
          h("pre.line", {}, line),
        ];
    this.empty.replaceChildren(...nothing);
  }

  #draw(entry, row) {
    if (!entry) return row;
    if (!row) {
      row = h(
        "a.stream-row",
        { tabindex: "-1" },
        h("span.name"),
        h("span.number"),
        h("span.number"),
        h("span.number.age"),
        sparkline(),
        h("span.number.rate"),
      );
    }
    const [name, events, bytes, last, line, pace] = row.children;
    const { stream, version, metadata, meter, derived, closed } = entry;
    row.href = pathOfEntry(entry);
    setText(name, stream);
    name.title = stream;
    name.dataset.kind = derived ? "derived" : closed ? "closed" : "";
    setText(events, count(version));
    setText(bytes, metadata.bytes === undefined ? "" : size(metadata.bytes));
    setText(last, metadata.lastTime ? age(metadata.lastTime) : "");
    last.dataset.fresh = Date.now() - metadata.lastTime < 10_000 ? "yes" : "";
    setText(pace, rate(meter.now));
    drawSparkline(line, meter.rates);
    return row;
  }

  #sort(key) {
    this.order = key;
    this.#markOrder();
    this.#remember();
    this.refresh();
  }

  #markOrder() {
    for (const each of this.heads) each.setAttribute("aria-pressed", String(each.dataset.key === this.order));
  }

  #searched() {
    this.list.element.scrollTop = 0;
    this.list.select(null);
    this.#remember();
    this.refresh();
  }

  #remember() {
    const query = new URLSearchParams();
    if (this.search.value) query.set("q", this.search.value);
    if (this.order !== "name") query.set("by", this.order);
    this.navigate(query.size ? `/?${query}` : "/", { replace: true, silent: true });
  }

  #press(event) {
    if (event.key === "ArrowDown") {
      this.list.element.focus();
      if (this.#shown.length) this.list.select(0);
      event.preventDefault();
    } else if (event.key === "Enter" && this.#shown.length) {
      this.navigate(pathOfEntry(this.#shown[0]));
    }
  }
}

function pathOfEntry({ stream, derived }) {
  return pathOf(stream, derived);
}
