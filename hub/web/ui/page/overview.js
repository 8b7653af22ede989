/**
 * What a view has read, at a glance: how many events when, and of which types.
 */

import { SERIES, assign, seriesName } from "./colours.js";
import { fill, h, onceAFrame, select } from "./dom.js";
import { count, counted, iso } from "./format.js";
import { STORED } from "./event-time.js";
import { Histogram, OTHERS } from "./histogram.js";
import { Bars } from "./plot.js";
import { TypeMix } from "./type-mix.js";

const BARS = 160;
const EVERY = 250;
const LENGTHS = [
  [365 * 86_400, "y"],
  [86_400, "d"],
  [3600, "h"],
  [60, "min"],
  [1, "s"],
];

export class Overview {
  #bars;
  #drawn = 0;
  #timer;

  /**
   * @param {object} options
   * @param {(type: string | undefined) => URL} options.linkTo where only one type is shown
   * @param {string | undefined} options.chosen the type that is
   * @param {(seconds: number) => void} options.onPick a time that was clicked
   * @param {(field: string) => void} options.onField which time counts
   * @param {(types: (string | symbol)[]) => void} options.onDraw these have colours now
   */
  constructor({ linkTo, chosen, onPick, onField, onDraw }) {
    Object.assign(this, { onField, onDraw });
    this.histogram = new Histogram();
    this.colours = new Map();
    this.plot = new Bars({
      label: "Events over time",
      onPick: (at) => onPick(this.#bars.starts[at]),
      onHover: (at) => this.#hover(at),
    });
    this.mix = new TypeMix(linkTo, chosen);
    this.readout = h("p.readout");
    this.fields = h("span.fields");
    this.element = h(
      "section.overview",
      { "aria-label": "Overview" },
      h("div.plot-head", {}, this.readout, this.fields),
      this.plot.element,
      this.mix.element,
    );
    this.drawSoon = onceAFrame(() => this.#drawNow());
  }

  /** Which time counts, of those that there are. */
  offer(fields, chosen) {
    const options = [...fields.map((each) => [each, `by ${each}`]), [STORED, "by time stored"]];
    fill(this.fields, fields.length > 0 && select("Time", options, chosen, this.onField));
  }

  clear() {
    this.histogram = new Histogram();
    this.draw();
  }

  add(time, type) {
    this.histogram.add(time, type);
  }

  /** Draw soon, and not more often than the eye follows. */
  draw() {
    this.#timer ??= setTimeout(
      () => {
        this.#timer = undefined;
        this.drawSoon();
      },
      Math.max(0, this.#drawn + EVERY - performance.now()),
    );
  }

  /** The variable of a type's colour. */
  colourOf(type) {
    return seriesName(this.colours.get(type) ?? SERIES - 1);
  }

  close() {
    clearTimeout(this.#timer);
    this.plot.close();
  }

  #drawNow() {
    this.#drawn = performance.now();
    const ranked = this.histogram.ranked(SERIES);
    this.colours = assign(
      ranked.map(([type]) => type),
      this.colours,
      OTHERS,
    );
    // Upon each other in the order of their colours, which stays; what is rest comes last.
    const types = [...this.colours].sort((a, b) => a[1] - b[1]);
    this.#bars = this.histogram.bars(
      BARS,
      types.map(([type]) => type),
    );
    this.mix.draw(ranked, this.histogram.count, (type) => this.colourOf(type));
    this.plot.draw(
      this.#bars,
      types.map(([, colour]) => seriesName(colour)),
    );
    this.#hover(null);
    this.onDraw([...this.colours.keys()]);
  }

  #hover(at) {
    const { starts, width, values } = this.#bars;
    if (!starts.length)
      return this.readout.replaceChildren(this.histogram.count ? "No event tells its time" : " ");
    if (at === null) {
      const dates = [starts[0], starts.at(-1)].map((each) => day(each, width));
      const span = dates[0] === dates[1] ? dates[0] : dates.join(" – ");
      const { timeless } = this.histogram;
      const rest = timeless ? ` · ${count(timeless)} without a time` : "";
      return this.readout.replaceChildren(`${span} · ${lengthOf(width)} a bar${rest}`);
    }
    const number = values.reduce((sum, each) => sum + each[at], 0);
    return this.readout.replaceChildren(
      h("b", {}, counted(number, "event")),
      ` from ${day(starts[at], width)}, ${lengthOf(width)}`,
    );
  }
}

function day(seconds, width) {
  const text = iso(seconds * 1000);
  return width >= 86_400 ? text.slice(0, 10) : text.slice(0, 19);
}

function lengthOf(seconds) {
  const [unit, name] = LENGTHS.find(([each]) => seconds >= each) ?? LENGTHS.at(-1);
  return `${count(Math.round(seconds / unit))} ${name}`;
}
