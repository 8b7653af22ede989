/**
 * The mix of event types: a bar of their shares, and a chip for each that picks it out.
 */

import { fill, h } from "./dom.js";
import { count, share } from "./format.js";
import { OTHERS } from "./histogram.js";

export class TypeMix {
  /**
   * @param {(type: string | undefined) => URL} linkTo where only this type is shown; undefined: all
   * @param {string | undefined} chosen the type that is
   */
  constructor(linkTo, chosen) {
    this.linkTo = linkTo;
    this.chosen = chosen;
    this.bar = h("div.mix-bar", { "aria-hidden": "true" });
    this.chips = h("div.chips", { role: "list", "aria-label": "Event types" });
    this.element = h("div.mix", {}, this.bar, this.chips);
    this.shown = "";
  }

  /**
   * @param {[type: string | symbol, number: number][]} ranked
   * @param {number} whole
   * @param {(type: string | symbol) => string} colourOf the variable of a type's colour
   */
  draw(ranked, whole, colourOf) {
    const state = JSON.stringify(ranked.map(([type, number]) => [String(type), number]));
    if (state === this.shown) return;
    this.shown = state;
    const parts = ranked.map(([type, number]) => {
      const part = h("span", { title: `${nameOf(type)}: ${share(number, whole)}` });
      part.style.flexGrow = String(number);
      part.style.background = `var(${colourOf(type)})`;
      return part;
    });
    fill(this.bar, ...parts);
    const chips = ranked.map(([type, number]) => this.#chip(type, number, whole, colourOf));
    if (this.chosen !== undefined && !ranked.length) chips.push(this.#chip(this.chosen, 0, 0, colourOf));
    fill(this.chips, ...chips);
  }

  #chip(type, number, whole, colourOf) {
    const dot = h("i.dot");
    dot.style.background = `var(${colourOf(type)})`;
    const parts = [
      dot,
      h("b", {}, nameOf(type)),
      h("span", {}, count(number)),
      whole > 0 && h("span.soft", {}, share(number, whole)),
    ];
    if (type === OTHERS) return h("span.chip", { role: "listitem" }, ...parts);
    const chosen = type === this.chosen;
    const title = chosen ? "Show all types" : "Show only these";
    const link = h(
      "a.chip",
      { href: this.linkTo(chosen ? undefined : type).href, title, "aria-current": chosen && "true" },
      ...parts,
      chosen && h("span.x", {}, "×"),
    );
    return h("span", { role: "listitem" }, link);
  }
}

function nameOf(type) {
  if (type === OTHERS) return "others";
  return type || "no type";
}
