/**
 * One channel or stream: what was and what comes, with everything to look into it.
 *
 * It takes one connection, which it gives back while the page is hidden.
 */

import { eventDetails } from "./event-details.js";
import { eventRow } from "./event-row.js";
import { STORED, timeFields, timeIn } from "./event-time.js";
import { fill, h, onceAFrame, setText } from "./dom.js";
import { count } from "./format.js";
import { TAIL, load, loadOlder, planOf } from "./loading.js";
import { ALL, LogHead } from "./log-head.js";
import { Overview } from "./overview.js";
import { postForm } from "./post-form.js";
import { recipeList } from "./recipes.js";
import { Rows } from "./rows.js";
import { SidePanel } from "./side-panel.js";
import { Source } from "./source.js";
import { timeForm } from "./time-form.js";
import { VirtualList } from "./virtual.js";

const AHEAD = 20_000;
const TYPE_LENGTH = 24;

/** @param {{url: URL, navigate: (url: string | URL, how?: object) => void}} place */
export function openLog({ url, navigate }) {
  const view = new LogView(new Source(url), navigate);
  return {
    element: view.element,
    title: view.source.title,
    close: () => view.close(),
    dismiss: () => view.panel.close(),
  };
}

class LogView {
  #rows = new Rows();
  #field = STORED;
  #fields;
  #ended = new AbortController();
  #pausedAt = null;
  #missed = 0;
  #read = 0;
  #arrived = 0;
  #live = false;
  #total;
  #cut = false;
  #slice = TAIL;
  #wanted = () => {};

  constructor(source, navigate) {
    Object.assign(this, { source, navigate });
    this.head = new LogHead(source, "events");
    this.overview = new Overview({
      linkTo: (type) => source.with({ event: type }),
      chosen: source.event,
      onPick: (seconds) => this.#goTo(seconds * 1000),
      onField: (field) => this.#countBy(field),
      onDraw: (types) => this.#fitTypes(types),
    });
    this.list = new VirtualList({
      label: "Events",
      draw: (number, row) => this.#draw(number, row),
      onSelect: (number) => this.#select(number),
      onScroll: () => this.#scrolled(),
      follows: source.since === undefined,
    });
    if (source.isMany) this.list.element.classList.add("with-stream");
    this.panel = new SidePanel(() => this.list.select(null));
    this.pause = h(
      "button",
      { type: "button", "aria-pressed": "false", onClick: () => this.#togglePause() },
      "Pause",
    );
    this.newer = h("button.newer", { type: "button", hidden: true, onClick: () => this.#toEnd() });
    this.note = h("p.notice", { hidden: true, role: "status" });
    this.empty = h("div.empty", { hidden: true });
    this.element = h(
      "section.log-view",
      {},
      this.head.element,
      this.overview.element,
      this.#toolbar(),
      this.note,
      h(
        "div.panes",
        {},
        h("div.list-pane", {}, this.list.element, this.empty, this.newer),
        this.panel.element,
      ),
    );
    this.refresh = onceAFrame(() => this.#refresh());
    this.#run();
  }

  close() {
    this.#ended.abort();
    this.list.close();
    this.overview.close();
  }

  #toolbar() {
    const { source } = this;
    const from = source.since === undefined ? "end" : source.since === "start" ? "start" : "time";
    const mode = (name, text, url) =>
      h("a", { href: url.href, "aria-current": from === name && "true" }, text);
    const tool = (kind, text, open) =>
      h("button", { type: "button", onClick: () => this.#toggle(kind, open) }, text);
    return h(
      "div.toolbar",
      { role: "toolbar", "aria-label": "What is shown" },
      h(
        "div.modes",
        {},
        mode("end", "Latest", source.with({ since: undefined })),
        mode("start", "From the start", source.with({ since: "start" })),
        timeForm(source, from === "time", this.navigate),
      ),
      this.pause,
      h("span.gap"),
      tool("use", "Use this view", () =>
        this.panel.show("use", "Use this view", recipeList(source, location.origin, this.#types())),
      ),
      !source.isMany && tool("post", "Post", () => this.#showPost()),
    );
  }

  #showPost() {
    const types = this.#types().filter(Boolean);
    this.panel.show("post", "Post an event", postForm(this.source, types));
  }

  // Those that are told apart: of very many, the rest has no name here.
  #types() {
    return [...this.overview.histogram.types.keys()].filter((each) => typeof each === "string");
  }

  #toggle(kind, open) {
    if (this.panel.kind === kind) this.panel.close();
    else open();
  }

  async #run() {
    const { signal } = this.#ended;
    const { source } = this;
    this.head.tell("reading");
    this.head.advance(NaN);
    try {
      const isWhole = source.page.hash === ALL;
      const plan = source.since === undefined ? await planOf(source, isWhole, signal) : { tail: undefined };
      this.#total = plan.total;
      this.#cut = plan.hasOlder ?? false;
      if (this.#cut) this.#slice = plan.tail;
      this.head.all.hidden = !this.#cut;
      if (plan.tail && !plan.hasOlder)
        this.#note(`What is older than the last ${count(plan.tail)} is read from the start only.`);
      const tell = {
        onEvents: (batch) => this.#take(batch),
        onLive: () => this.#becomeLive(),
        onReset: () => this.#startOver(),
        onState: (state) => this.head.tell(state === "open" ? this.#stateNow() : "waiting"),
      };
      await load(source, plan, tell, signal);
    } catch (error) {
      if (signal.aborted) return;
      this.#fail(error);
    }
  }

  #fail(error) {
    this.head.tell("failed");
    this.head.advance(1);
    const why = error instanceof TypeError ? "The hub does not answer." : error.message;
    const again = h(
      "button",
      { type: "button", onClick: () => this.navigate(location.href, { replace: true }) },
      "Try again",
    );
    this.#note(h("span", {}, why), again);
  }

  #note(...content) {
    this.note.hidden = false;
    fill(this.note, ...content);
  }

  async #take(batch) {
    if (this.#fields === undefined) this.#findTimes(batch);
    for (const event of batch) {
      const time = timeIn(event, this.#field);
      this.#rows.push(event, time);
      this.overview.add(time, event.type);
    }
    this.#read += batch.length;
    if (this.#live) this.#arrived += batch.length;
    this.overview.draw();
    this.refresh();
    if (this.source.since !== undefined && !this.#live) await this.#untilWanted();
  }

  // From a place on, it reads as far ahead as somebody may soon look.
  async #untilWanted() {
    const { signal } = this.#ended;
    const isEnough = () => this.#rows.end - this.list.bottom > AHEAD && !signal.aborted;
    if (!isEnough()) return;
    this.head.tell("resting");
    this.head.advance(1);
    while (isEnough()) {
      await new Promise((resolve) => {
        this.#wanted = resolve;
        signal.addEventListener("abort", resolve, { once: true });
      });
    }
    this.head.tell("reading");
  }

  #startOver() {
    this.#rows.clear();
    this.list.clear();
    this.overview.clear();
    this.#read = this.#arrived = 0;
    this.#total = this.#pausedAt = null;
    this.#cut = false;
    this.#note("The hub has another history now: this is it, from its start.");
  }

  #findTimes(batch) {
    this.#fields = timeFields(batch);
    const kept = sessionStorage.getItem(`time ${this.source.path}`);
    this.#field =
      kept !== null && [STORED, ...this.#fields].includes(kept) ? kept : (this.#fields[0] ?? STORED);
    this.overview.offer(this.#fields, this.#field);
  }

  #countBy(field) {
    sessionStorage.setItem(`time ${this.source.path}`, field);
    this.navigate(location.href, { replace: true });
  }

  #becomeLive() {
    this.#live = true;
    this.head.advance(1);
    this.head.tell(this.#stateNow());
    this.refresh();
  }

  #stateNow() {
    return this.#pausedAt === null ? "live" : "paused";
  }

  #refresh() {
    const rows = this.#rows;
    const end = this.#pausedAt ?? rows.end;
    const following = this.list.following;
    this.list.update(rows.first, Math.max(rows.first, end));
    if (following && this.#pausedAt === null) this.#missed = rows.end;
    const missed = this.#live ? rows.end - Math.max(this.#missed, rows.first) : 0;
    this.newer.hidden = missed <= 0 || (following && this.#pausedAt === null);
    setText(this.newer, `↓ ${count(missed)} new`);
    this.head.tellFacts({
      count: this.#read,
      total: this.#cut && this.#total ? this.#total + this.#arrived : undefined,
    });
    if (!this.#live && this.#total) this.head.advance(Math.min(0.99, this.#read / this.#total));
    this.#tellEmpty();
  }

  #tellEmpty() {
    const isEmpty = this.#live && this.#rows.end === this.#rows.first;
    if (this.empty.hidden === !isEmpty) return;
    this.empty.hidden = !isEmpty;
    this.overview.element.hidden = isEmpty;
    if (!isEmpty) return;
    const { source } = this;
    const text =
      source.event === undefined
        ? "Nothing was written here yet. What is, appears at once."
        : "No event of this type, here, yet.";
    fill(this.empty, h("h2", {}, "Empty"), h("p", {}, text));
    if (!source.isMany && source.event === undefined) this.#showPost();
  }

  #draw(number, row) {
    const event = this.#rows.at(number);
    if (row) {
      // What changes are the colours of types, as more of them are known.
      row.querySelector(".type").style.setProperty("--tint", `var(${this.overview.colourOf(event?.type)})`);
      return row;
    }
    const log = this.source.isMany ? undefined : this.source.name;
    const colourOf = (type) => this.overview.colourOf(type);
    return eventRow({ event, time: this.#rows.timeAt(number), field: this.#field, log, colourOf });
  }

  // The column of types is as wide as the longest needs.
  #fitTypes(types) {
    const longest = Math.max(...types.map((each) => (typeof each === "string" ? each.length : 0)), 4);
    this.list.element.style.setProperty("--type", `${Math.min(longest, TYPE_LENGTH) + 3}ch`);
    this.list.redraw();
  }

  #select(number) {
    if (number === null) return;
    const event = this.#rows.at(number);
    if (event) this.panel.show("event", event.type || "Event", ...eventDetails(event));
  }

  #scrolled() {
    this.#wanted();
    if (this.list.following && this.#pausedAt === null) this.#missed = this.#rows.end;
    if (this.list.following) {
      this.refresh();
      return; // who looks at the last ones did not ask for older ones
    }
    const hasOlder = this.#cut || this.#rows.first > 0;
    if (this.#live && hasOlder && this.list.element.scrollTop < 2 * this.list.element.clientHeight)
      this.#older();
  }

  async #older() {
    if (this.loadingOlder || !this.#rows.events.length) return;
    this.loadingOlder = true;
    try {
      const known = this.#rows.events.slice(0, 10_000);
      const found = await loadOlder(this.source, known, this.#slice, this.#ended.signal);
      if (!found) {
        this.#cut = false;
        this.#note("Ids come more than once here, so older events are read from the start only.");
        return;
      }
      const times = found.events.map((each) => timeIn(each, this.#field));
      this.#rows.prepend(found.events, times);
      if (this.#cut) {
        found.events.forEach((each, at) => this.overview.add(times[at], each.type));
        this.#read += found.events.length;
        this.#cut = !found.isAll;
        this.overview.draw();
      }
      this.list.hold();
      this.refresh();
    } catch (error) {
      if (!this.#ended.signal.aborted) this.#fail(error);
    } finally {
      this.loadingOlder = false;
    }
  }

  #togglePause() {
    const paused = this.#pausedAt !== null;
    this.#pausedAt = paused ? null : this.#rows.end;
    this.pause.setAttribute("aria-pressed", String(!paused));
    setText(this.pause, paused ? "Pause" : "Resume");
    if (paused) this.#toEnd();
    else this.#missed = this.#rows.end;
    if (this.#live) this.head.tell(this.#stateNow());
    this.refresh();
  }

  #toEnd() {
    if (this.#pausedAt !== null) this.#togglePause();
    this.#missed = this.#rows.end;
    this.list.follow();
    this.refresh();
  }

  #goTo(time) {
    const number = this.#rows.since(time);
    if (number >= this.#rows.end) return;
    this.list.show(number, true);
    this.list.select(number);
    this.list.element.focus();
  }
}
