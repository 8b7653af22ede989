/**
 * The state at one moment, and the event that led to it.
 */

import { ChannelEvent } from "../hub/event.js";
import { fill, h } from "./dom.js";
import { changes, jsonTree } from "./json-tree.js";
import { copyButton } from "./recipes.js";

export class FoldState {
  #before;
  #opened = { state: new Map(), event: new Map() };

  constructor() {
    this.tree = h("div.tree");
    this.event = h("div.tree");
    this.copy = h("span");
    this.element = h(
      "div.fold-state",
      {},
      h("section", {}, h("div.part-head", {}, h("h2", {}, "State"), this.copy), this.tree),
      h("section", {}, h("div.part-head", {}, h("h2", {}, "Event")), this.event),
    );
  }

  clear() {
    this.#before = undefined;
    fill(this.tree);
    fill(this.event);
    fill(this.copy);
  }

  /** @param {{text: string | undefined, row: unknown[] | undefined}} found the state as JSON, and the event's row */
  show({ text, row }) {
    this.#showEvent(row);
    if (text === undefined) {
      fill(this.tree, h("p.hint", {}, "The reducer returned nothing. Does it return the state?"));
      return;
    }
    const value = JSON.parse(text);
    const changed = this.#before === undefined ? new Set() : changes(this.#before, value);
    this.#before = value;
    fill(this.tree, jsonTree(value, { changed, opened: this.#opened.state }));
    fill(this.copy, copyButton(text));
  }

  #showEvent(row) {
    if (!row) return fill(this.event, h("p.hint", {}, "None yet"));
    const [id, type, data, , stream] = row;
    const { json } = new ChannelEvent(id, type, data);
    const told = h("p.of", {}, h("b", {}, type || "no type"), stream && ` in ${stream}`);
    const content =
      json === undefined ? h("pre.text", {}, data) : jsonTree(json, { opened: this.#opened.event });
    return fill(this.event, told, content);
  }
}
