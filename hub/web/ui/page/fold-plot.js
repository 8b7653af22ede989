/**
 * Numbers of the state over time; where it is clicked, the slider goes.
 */

import { SERIES, seriesName } from "./colours.js";
import { fill, h, select } from "./dom.js";
import { count as number, iso } from "./format.js";
import { Lines } from "./plot.js";

const GROUP = 3;

/** Of the moments, the share that may lie before one that came earlier, for time to be their order. */
const MOST_LATE = 0.25;

export class FoldPlot {
  #series;
  #xs = [];
  #isTime = false;
  #offered = "";
  #chosen;
  #marked = -1;

  /** How many lines there are at most. */
  most = SERIES;

  /**
   * @param {(at: number) => void} onPick how many events count at the place that was clicked
   * @param {(path: string[]) => void} onChoice what is to be plotted
   */
  constructor(onPick, onChoice) {
    this.onChoice = onChoice;
    this.plot = new Lines({
      label: "The state's numbers over time",
      onPick: (at) => onPick(this.#series.marks[at]),
      onHover: (at) => this.#tell(at ?? this.#marked),
    });
    this.choice = h("span.fields");
    this.legend = h("div.legend");
    this.element = h(
      "div.fold-plot",
      {},
      h("div.plot-head", {}, this.legend, this.choice),
      this.plot.element,
    );
  }

  close() {
    this.plot.close();
  }

  clear() {
    this.#series = undefined;
    this.#chosen = undefined;
    this.#offered = "";
    this.plot.clear();
    fill(this.legend);
    fill(this.choice);
  }

  /**
   * What can be plotted.
   * @param {string[][]} paths
   * @param {string[]} [choice] what somebody chose
   * @returns {string[] | undefined} what is
   */
  offer(paths, choice) {
    this.#chosen = choice ?? this.#chosen;
    const names = paths.map(nameOf);
    const known = this.#chosen && names.includes(nameOf(this.#chosen)) ? this.#chosen : this.#best(paths);
    if (JSON.stringify(names) !== this.#offered || choice) {
      this.#offered = JSON.stringify(names);
      const options = names.map((name) => [name, name]);
      const onChoice = (name) => this.onChoice(paths[names.indexOf(name)]);
      fill(this.choice, paths.length > 1 && select("What is plotted", options, nameOf(known), onChoice));
    }
    return known;
  }

  /** @param {object} series see the worker's task of this name */
  draw(series) {
    this.#series = series;
    const { marks, times, lines } = series;
    let latest = -Infinity;
    // Before the first event there is no time; and clocks go back.
    const seconds = times.map((each, at) => (latest = Math.max(latest, (at ? each : times[1]) / 1000)));
    // Many logs that were imported one after the other begin again and again, years ago.
    const late = times.filter((each, at) => each / 1000 < seconds[at]).length;
    this.#isTime = !Number.isNaN(latest) && late <= MOST_LATE * times.length;
    const xs = this.#isTime ? seconds : marks;
    this.#xs = xs;
    this.plot.draw(xs, lines, this.#isTime);
    this.#marked = marks.length - 1;
    this.#tell(this.#marked);
  }

  /** Mark the moment that the slider shows. */
  mark({ at, row }) {
    if (!this.#series) return;
    const time = row ? row[3] / 1000 : this.#xs[0];
    this.plot.markAt(this.#isTime ? time : at);
    this.#marked = Math.max(
      0,
      this.#series.marks.findLastIndex((each) => each <= at),
    );
    this.#tell(this.#marked);
  }

  // Many of a kind say most; else the first number there is.
  #best(paths) {
    const group = paths.find((path) => path.includes("*"));
    const members = paths.filter(
      (path) => path.length === group?.length && nameOf(path.slice(0, -1)) === nameOf(group.slice(0, -1)),
    );
    return group && members.length > GROUP ? group : (paths.find((path) => !path.includes("*")) ?? paths[0]);
  }

  #tell(at) {
    if (!this.#series || at < 0) return;
    const { names, lines, times, hidden } = this.#series;
    const items = names.map((name, line) => {
      const dot = h("i.dot");
      dot.style.background = `var(${seriesName(line)})`;
      const value = lines[line][at];
      return h(
        "span.entry",
        {},
        dot,
        h("b", {}, name || "state"),
        value === null || value === undefined ? "–" : number(value),
      );
    });
    const time = at > 0 ? iso(times[at]).slice(0, 10) : "";
    fill(
      this.legend,
      h("span.when", {}, time),
      ...items,
      hidden > 0 && h("span.soft", {}, `and ${hidden} more`),
    );
  }
}

function nameOf(path) {
  if (path.length === 1 && path[0] === "*") return "all of these";
  return path.length ? path.join(".") : "state";
}
