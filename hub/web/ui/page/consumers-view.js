/**
 * Consumers: how far each is in its stream, its state, what stopped it, and a new beginning.
 */

import { fill, h, setText } from "./dom.js";
import { count, counted } from "./format.js";
import { consumer, listConsumers, resetConsumer } from "./hub-api.js";
import { jsonTree } from "./json-tree.js";
import { poll } from "./polling.js";
import { decode } from "./source.js";

const EVERY = 2000;

/** @param {{url: URL}} place */
export function openConsumers({ url }) {
  const [, , chosen] = url.pathname.split("/");
  const view = new ConsumersView(chosen && decode(chosen));
  return { element: view.element, title: "Consumers", close: () => view.close() };
}

class ConsumersView {
  #cards = new Map();
  #ended = new AbortController();

  constructor(chosen) {
    this.chosen = chosen;
    this.summary = h("p.summary", { role: "status" }, "…");
    this.list = h("ul.cards");
    this.missing = h("p.notice", { hidden: true, role: "status" }, `There is no consumer “${chosen}”.`);
    this.empty = h("div.empty.in-flow", { hidden: true }, h("h2", {}, "No consumers"), ...about());
    this.element = h(
      "section.consumers-view",
      {},
      h("div.list-head", {}, h("div.title-line", {}, h("h1", {}, "Consumers"), this.summary)),
      this.missing,
      this.list,
      this.empty,
    );
    poll(EVERY, (signal) => this.#load(signal), this.#ended.signal);
  }

  close() {
    this.#ended.abort();
  }

  async #load(signal) {
    let found;
    try {
      found = await listConsumers(signal);
    } catch (error) {
      signal.throwIfAborted();
      setText(this.summary, `The hub does not answer: ${error.message}`);
      return;
    }
    const names = new Set(found.map((each) => each.identifier));
    for (const [name, card] of this.#cards) {
      if (names.has(name)) continue;
      card.element.remove();
      this.#cards.delete(name);
    }
    for (const each of found) {
      let card = this.#cards.get(each.identifier);
      if (!card) {
        card = new Card(each, this.#ended.signal, each.identifier === this.chosen);
        this.#cards.set(each.identifier, card);
        this.list.append(card.element);
      }
      await card.update(each);
    }
    const stopped = found.filter((each) => each.status === "stopped").length;
    setText(this.summary, counted(found.length, "consumer") + (stopped ? ` · ${stopped} stopped` : ""));
    this.missing.hidden = !this.chosen || names.has(this.chosen);
    this.empty.hidden = found.length > 0;
  }
}

class Card {
  #opened = new Map();
  #shown;

  constructor({ identifier, stream }, signal, open) {
    this.identifier = identifier;
    this.signal = signal;
    this.status = h("span.state");
    this.place = h("span.summary");
    this.bar = h("progress", { max: "1", value: "0", "aria-label": `How far ${identifier} is` });
    this.error = h("p.told", { data: { state: "error" } });
    this.tree = h("div.tree");
    this.details = h(
      "details.consumer-state",
      { open, onToggle: () => this.#showState() },
      h("summary", {}, "State"),
      this.tree,
    );
    this.actions = h("div.actions");
    this.#offerReset();
    this.element = h(
      "li.card",
      {},
      h("div.title-line", {}, h("h2", {}, identifier), this.status, this.place, this.actions),
      h("p.of", {}, "folds ", h("a", { href: `/streams/${stream}` }, stream)),
      this.bar,
      this.error,
      this.details,
    );
  }

  async update({ seen, version, status, error }) {
    const stopped = status === "stopped";
    const behind = Math.max(0, (version ?? seen) - seen);
    this.status.dataset.state = stopped ? "failed" : behind ? "reading" : "live";
    setText(this.status, stopped ? "Stopped" : behind ? "Catching up" : "Up to date");
    const rest = behind ? ` · ${counted(behind, "event")} behind` : "";
    setText(
      this.place,
      version === null ? `at ${count(seen)}` : `${count(seen)} of ${count(version)}${rest}`,
    );
    this.bar.value = version ? seen / version : 1;
    setText(this.error, error ?? "");
    await this.#showState();
  }

  async #showState() {
    if (!this.details.open) return;
    try {
      const told = await consumer(this.identifier, this.signal);
      const text = JSON.stringify(told.state);
      if (text === this.#shown) return;
      this.#shown = text;
      fill(this.tree, jsonTree(told.state, { opened: this.#opened }));
    } catch (error) {
      if (!this.signal.aborted) fill(this.tree, h("p.hint", {}, error.message));
    }
  }

  #offerReset() {
    fill(this.actions, h("button", { type: "button", onClick: () => this.#askReset() }, "Reset…"));
  }

  #askReset() {
    const yes = h(
      "button.danger",
      { type: "button", onClick: () => this.#reset() },
      "Fold again from its beginning",
    );
    fill(this.actions, yes, h("button", { type: "button", onClick: () => this.#offerReset() }, "Cancel"));
    yes.focus();
  }

  async #reset() {
    try {
      await resetConsumer(this.identifier, this.signal);
    } catch (error) {
      setText(this.error, error.message);
    }
    this.#offerReset();
  }
}

function about() {
  const handler = '{"handler": "(event, state) => ({events: (state.events ?? 0) + 1})"}';
  return [
    h("p", {}, "A consumer is a fold that the hub runs, over a stream or many. Make one:"),
    h("pre.line", {}, `curl -X PUT -d '${handler}' '${location.origin}/consumers/counter/stream/_all'`),
  ];
}
