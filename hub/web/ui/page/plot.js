/**
 * Plots over time, drawn by uPlot: bars of counts, and lines of values.
 */

import uPlot from "../vendor/uplot/uPlot.esm.js";
import { colour, seriesName } from "./colours.js";
import { h } from "./dom.js";

const FONT = "11px system-ui, sans-serif";
// Width of a tick, text, and what is added where the year, month, day, … begins.
const TIMES = [
  [3600 * 24 * 365, "{YYYY}", null, null, null, null, null, null, 1],
  [3600 * 24 * 28, "{MMM}", "\n{YYYY}", null, null, null, null, null, 1],
  [3600 * 24, "{D} {MMM}", "\n{YYYY}", null, null, null, null, null, 1],
  [3600, "{HH}:{mm}", "\n{D} {MMM} {YYYY}", null, "\n{D} {MMM}", null, null, null, 1],
  [60, "{HH}:{mm}", "\n{D} {MMM} {YYYY}", null, "\n{D} {MMM}", null, null, null, 1],
  [0.001, "{HH}:{mm}:{ss}", "\n{D} {MMM} {YYYY}", null, "\n{D} {MMM}", null, null, null, 1],
];
const DAY = 86_400;
// Steps between ticks, in seconds: no finer than the labels tell.
const STEPS = [
  ...[1, 5, 10, 15, 30],
  ...[1, 5, 10, 15, 30].map((each) => each * 60),
  ...[1, 2, 3, 4, 6, 8, 12].map((each) => each * 3600),
  ...[1, 2, 3, 5, 10, 15, 30, 60, 90, 120, 180].map((each) => each * DAY),
  ...[1, 2, 5, 10, 25, 50, 100].map((each) => each * 365 * DAY),
];
const FEWEST_BARS = 30;
const SHORT = new Intl.NumberFormat("en", { notation: "compact", maximumSignificantDigits: 3 });

const LINE = 20;
const TWO_LINES = 34;

/** What both kinds of plot share: an element that keeps its size, theme, and a pointer. */
class Plot {
  #names = "";
  #data = [[]];

  /**
   * @param {object} options
   * @param {string} options.label what a screen reader says
   * @param {(at: number) => void} options.onPick the place in the data that was clicked, or drawn over
   * @param {(at: number | null) => void} [options.onHover]
   */
  constructor({ label, onPick, onHover = () => {} }) {
    Object.assign(this, { onPick, onHover });
    this.element = h("div.plot", { role: "img", "aria-label": label });
    this.observer = new ResizeObserver(() => this.#fit());
    this.observer.observe(this.element);
    this.retint = () => this.#make();
    addEventListener("theme", this.retint);
    this.element.addEventListener("pointerdown", (event) => this.#pick(event));
    this.element.addEventListener("pointermove", (event) => event.buttons === 1 && this.#pick(event));
  }

  /** Forget the page. */
  close() {
    this.observer.disconnect();
    removeEventListener("theme", this.retint);
    this.uplot?.destroy();
  }

  /** Show nothing. */
  clear() {
    this.#data = [[]];
    this.uplot?.destroy();
    this.uplot = undefined;
  }

  /** Show these data; `names` says of how many series, and in what way, they are. */
  show(names, data) {
    this.#data = data;
    if (this.uplot && names === this.#names) {
      this.uplot.setData(data);
    } else {
      this.#names = names;
      this.#make();
    }
  }

  #pick(event) {
    if (!this.uplot || !this.#data[0].length) return;
    const left = event.clientX - this.uplot.over.getBoundingClientRect().left;
    this.onPick(this.uplot.posToIdx(Math.max(0, left)));
  }

  #make() {
    this.uplot?.destroy();
    this.uplot = undefined;
    if (this.#data.length < 2 || !this.element.clientWidth) return;
    this.uplot = new uPlot(this.#options(), this.#data, this.element);
  }

  #fit() {
    const { clientWidth: width, clientHeight: height } = this.element;
    if (!this.uplot) this.#make();
    else if (width) this.uplot.setSize({ width, height });
  }

  #options() {
    const axis = { stroke: colour("--soft"), font: FONT, ticks: { show: false } };
    const grid = { stroke: colour("--line"), width: 1 };
    return {
      width: this.element.clientWidth,
      height: this.element.clientHeight,
      padding: [8, 8, 0, 0],
      legend: { show: false },
      cursor: { y: false, points: { show: false }, drag: { x: false, y: false } },
      tzDate: (seconds) => uPlot.tzDate(new Date(seconds * 1000), "Etc/UTC"),
      scales: { x: this.abscissa(), y: this.ordinate() },
      axes: [
        {
          ...axis,
          grid: { show: false },
          size: abscissaHeight,
          space: 60,
          ...(this.abscissa().time ? { values: TIMES, incrs: STEPS } : {}),
        },
        {
          ...axis,
          grid,
          size: 46,
          space: 26,
          values: (_, splits) => splits.map((each) => SHORT.format(each)),
        },
      ],
      series: [{}, ...this.series(this.#data.length - 1)],
      hooks: {
        setCursor: [(plot) => this.onHover(plot.cursor.idx ?? null)],
        draw: [(plot) => this.mark(plot)],
      },
    };
  }

  /** What is drawn over the plot. */
  mark() {}
}

/** Counts as bars, one type upon the other. */
export class Bars extends Plot {
  #bars;
  #colours;

  /**
   * @param {{width: number, starts: number[], values: number[][]}} bars see `Histogram.bars`
   * @param {string[]} colours the variable of each type's
   */
  draw(bars, colours) {
    this.#bars = bars;
    this.#colours = colours;
    // The tallest first, each before those that it stands upon.
    const sums = bars.starts.map(() => 0);
    const stacked = bars.values.map((values) => values.map((each, at) => (sums[at] += each)));
    this.show(colours.join(), [bars.starts, ...stacked.reverse()]);
  }

  abscissa() {
    return {
      time: true,
      range: () => {
        const { starts, width } = this.#bars;
        const end = starts.at(-1) + width;
        return starts.length ? [Math.min(starts[0], end - FEWEST_BARS * width), end] : [0, 1];
      },
    };
  }

  ordinate() {
    return { range: (_, __, most) => [0, (most || 1) * 1.05] };
  }

  series(number) {
    const paths = uPlot.paths.bars({ size: [1, 80], gap: 1, align: 1 });
    return Array.from({ length: number }, (_, at) => {
      const fill = colour(this.#colours[number - 1 - at]);
      return { paths, fill, stroke: fill, width: 0, points: { show: false } };
    });
  }
}

/** Values as lines, and a mark at one moment. */
export class Lines extends Plot {
  #isTime = true;
  #marked = null;

  /**
   * @param {number[]} xs rising; seconds since 1970, or numbers of events
   * @param {(number | null)[][]} lines
   * @param {boolean} isTime
   */
  draw(xs, lines, isTime) {
    this.#isTime = isTime;
    this.show(`${lines.length} ${isTime}`, [xs, ...lines]);
  }

  /** Mark a place on the x axis. */
  markAt(x) {
    this.#marked = x;
    this.uplot?.redraw(false, false);
  }

  abscissa() {
    return { time: this.#isTime };
  }

  ordinate() {
    return {};
  }

  series(number) {
    return Array.from({ length: number }, (_, at) => ({
      stroke: colour(seriesName(at)),
      width: 1.5,
      paths: uPlot.paths.stepped({ align: 1 }),
      points: { show: false },
      spanGaps: true,
    }));
  }

  mark(plot) {
    if (this.#marked === null) return;
    const { ctx, bbox } = plot;
    const x = Math.round(plot.valToPos(this.#marked, "x", true));
    if (x < bbox.left || x > bbox.left + bbox.width) return;
    ctx.save();
    ctx.fillStyle = colour("--text");
    ctx.fillRect(x - 1, bbox.top, Math.max(1, devicePixelRatio), bbox.height);
    ctx.restore();
  }
}

// Years and numbers take one line, other times two.
function abscissaHeight(plot, values) {
  return values?.some((each) => String(each).includes("\n")) ? TWO_LINES : LINE;
}
