/**
 * A fold: a reducer that somebody types, its state over the whole history, live, and at any
 * moment in between.
 *
 * The folding itself is done by a worker, so the page stays quick however long it takes.
 */

import { h } from "./dom.js";
import { Editor } from "./fold-editor.js";
import { FoldClient } from "./fold-client.js";
import { FoldPlot } from "./fold-plot.js";
import { FoldState } from "./fold-state.js";
import { STORED, timeFields, timeIn } from "./event-time.js";
import { load, planOf, sample } from "./loading.js";
import { LogHead } from "./log-head.js";
import { Scrubber } from "./scrubber.js";
import { Source } from "./source.js";

const ALL = { tail: undefined };
const SHOWN_EVERY = 150;
const PLOTTED_EVERY = 1000;

/** @param {{url: URL}} place */
export function openFold({ url }) {
  const view = new FoldView(new Source(url));
  return { element: view.element, title: `${view.source.title} fold`, close: () => view.close() };
}

class FoldView {
  #ended = new AbortController();
  #run = new AbortController();
  #client;
  #field = STORED;
  #shown = 0;
  #plotted = 0;
  #asking = false;
  #wanted = null;

  constructor(source) {
    this.source = source;
    this.head = new LogHead(source, "fold");
    this.editor = new Editor(
      source,
      () => this.#start(),
      () => this.#stop(),
    );
    this.scrubber = new Scrubber((at) => this.#ask(at));
    this.plot = new FoldPlot(
      (at) => this.scrubber.go(at),
      (choice) => this.#plot(choice),
    );
    this.state = new FoldState();
    this.element = h(
      "section.fold-view",
      {},
      this.head.element,
      h(
        "div.fold-grid",
        {},
        this.editor.element,
        h("div.fold-time", {}, this.plot.element, this.scrubber.element, this.state.element),
      ),
    );
    this.#open();
  }

  close() {
    this.#ended.abort();
    this.#stop();
    this.#client?.close();
    this.scrubber.close();
    this.plot.close();
  }

  async #open() {
    const { signal } = this.#ended;
    this.head.tell("reading");
    try {
      const events = await sample(this.source, signal);
      this.#field = timeFields(events)[0] ?? STORED;
      this.editor.suggest(events);
      await this.#start();
    } catch (error) {
      if (!signal.aborted) this.#fail(error);
    }
  }

  #stop() {
    this.#run.abort();
    this.#client?.endIfStuck();
    this.head.advance(1);
    this.editor.tellRunning(false);
  }

  async #start() {
    this.#stop();
    this.#client?.close();
    this.#run = new AbortController();
    const { signal } = this.#run;
    const client = (this.#client = new FoldClient(() =>
      this.editor.tell("The reducer takes long. Stop it, if it never ends."),
    ));
    this.#asking = false;
    this.#wanted = null;
    this.#shown = this.#plotted = 0;
    this.scrubber.clear();
    this.state.clear();
    this.plot.clear();
    this.editor.tell("");
    try {
      const initial = this.editor.initial();
      await client.ask("begin", { code: this.editor.code, initial });
      this.editor.tellRunning(true);
      await this.#read(client, signal);
    } catch (error) {
      if (signal.aborted) return;
      await this.#showLast();
      this.#fail(error);
    }
  }

  async #read(client, signal) {
    this.head.tell("reading");
    this.head.advance(NaN);
    const { total } = await planOf(this.source, true, signal);
    let live = false;
    const onEvents = async (batch) => {
      const { count } = await client.push(batch, (each) => timeIn(each, this.#field));
      if (signal.aborted) return;
      this.head.tellFacts({ count, total: live ? undefined : total });
      if (!live) this.head.advance(total ? Math.min(0.99, count / total) : NaN);
      this.scrubber.grow(count);
      if (performance.now() - this.#plotted > PLOTTED_EVERY) this.#plot();
      if (live || performance.now() - this.#shown > SHOWN_EVERY) this.#showLast();
    };
    const onLive = () => {
      live = true;
      this.head.advance(1);
      this.#showLast();
      this.#plot();
    };
    const onReset = () => {
      if (!signal.aborted) this.#start();
    };
    const onState = (state) => this.head.tell(state === "open" ? "live" : "waiting");
    await load(this.source, ALL, { onEvents, onLive, onReset, onState }, signal);
  }

  #fail(error) {
    this.head.tell("failed");
    this.head.advance(1);
    this.editor.tellRunning(false);
    this.editor.tell(
      error instanceof TypeError && /fetch/.test(error.message) ? "The hub does not answer" : error.message,
      true,
    );
  }

  async #showLast() {
    this.#shown = performance.now();
    if (this.scrubber.atEnd) await this.#ask(this.scrubber.count);
  }

  // Of many places that the slider passes, only the latest is worth an answer.
  async #ask(at) {
    this.#wanted = at;
    if (this.#asking) return;
    this.#asking = true;
    const client = this.#client;
    try {
      while (this.#wanted !== null && client === this.#client) {
        const wanted = this.#wanted;
        this.#wanted = null;
        const found = await client.ask("state", { at: wanted });
        if (client !== this.#client) return;
        this.state.show(found);
        this.scrubber.describe(found);
        this.plot.mark(found);
      }
    } catch (error) {
      this.editor.tell(error.message, true);
    } finally {
      if (client === this.#client) this.#asking = false;
    }
  }

  async #plot(choice) {
    this.#plotted = performance.now();
    const client = this.#client;
    if (!client) return;
    const paths = await client.ask("plottable");
    const path = this.plot.offer(paths, choice);
    if (!path) return;
    const series = await client.ask("series", { path, most: this.plot.most });
    if (client === this.#client) this.plot.draw(series);
  }
}
