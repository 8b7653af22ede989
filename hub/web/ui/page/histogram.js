/**
 * How many events of each type came when: bars over any span of time, in little memory.
 */

const MOST_BUCKETS = 4096;
const MOST_TYPES = 200;
const MINUTE = 60;
const HOUR = 3600;
const DAY = 86_400;
const YEAR = 365 * DAY;
/** Widths of a bar, in seconds. */
const WIDTHS = [
  ...[1, 2, 5, 10, 15, 30],
  ...[1, 2, 5, 10, 15, 30].map((each) => each * MINUTE),
  ...[1, 2, 3, 6, 12].map((each) => each * HOUR),
  ...[1, 2, 7, 14, 30, 60, 91, 182].map((each) => each * DAY),
  ...[1, 2, 5, 10, 50, 100].map((each) => each * YEAR),
];

/** What stands for the types beyond the first few. */
export const OTHERS = Symbol("others");

export class Histogram {
  #width = 1;
  #buckets = new Map();

  constructor() {
    /** How many events there are of each type; those beyond a number count as others. */
    this.types = new Map();
    /** All events, and those that could not be told when. */
    this.count = 0;
    this.timeless = 0;
  }

  /**
   * @param {number} time in milliseconds since 1970
   * @param {string} type
   */
  add(time, type) {
    const known = this.types.has(type) || this.types.size < MOST_TYPES ? type : OTHERS;
    this.types.set(known, (this.types.get(known) ?? 0) + 1);
    this.count += 1;
    if (Number.isNaN(time)) this.timeless += 1;
    else this.#put(Math.floor(time / 1000 / this.#width), known, 1);
    if (this.#buckets.size > MOST_BUCKETS) this.#widen();
  }

  /** Types by how many there are of them; the last is OTHERS if there are more than so many. */
  ranked(most) {
    const ranked = [...this.types].sort((a, b) => b[1] - a[1] || (String(a[0]) < String(b[0]) ? -1 : 1));
    if (ranked.length <= most) return ranked;
    const rest = ranked.slice(most - 1).reduce((sum, [, number]) => sum + number, 0);
    return [...ranked.slice(0, most - 1), [OTHERS, rest]];
  }

  /**
   * Bars of one width without gaps, from the first event to the last.
   * @param {number} most bars
   * @param {(string | symbol)[]} types each has its values; what is none of them is of the last
   * @returns {{width: number, starts: number[], values: number[][]}} times in seconds
   */
  bars(most, types) {
    const times = [...this.#buckets.keys()];
    if (!times.length) return { width: 1, starts: [], values: types.map(() => []) };
    let [low, high] = [Infinity, -Infinity];
    for (const each of times) {
      low = Math.min(low, each * this.#width);
      high = Math.max(high, each * this.#width);
    }
    const fits = (width) => width >= this.#width && (high - low) / width < most;
    const width = WIDTHS.find(fits) ?? Math.max(this.#width, (high - low) / most);
    const start = Math.floor(low / width);
    const length = Math.floor(high / width) - start + 1;
    const starts = Array.from({ length }, (_, at) => (start + at) * width);
    const values = types.map(() => new Array(length).fill(0));
    const place = new Map(types.map((type, at) => [type, at]));
    for (const [bucket, numbers] of this.#buckets) {
      const at = Math.floor((bucket * this.#width) / width) - start;
      for (const [type, number] of numbers) values[place.get(type) ?? types.length - 1][at] += number;
    }
    return { width, starts, values };
  }

  #put(bucket, type, number) {
    let numbers = this.#buckets.get(bucket);
    if (!numbers) this.#buckets.set(bucket, (numbers = new Map()));
    numbers.set(type, (numbers.get(type) ?? 0) + number);
  }

  #widen() {
    const narrow = this.#buckets;
    this.#width *= 2;
    this.#buckets = new Map();
    for (const [bucket, numbers] of narrow) {
      for (const [type, number] of numbers) this.#put(Math.floor(bucket / 2), type, number);
    }
  }
}
