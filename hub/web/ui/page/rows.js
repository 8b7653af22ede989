/**
 * The events that the page holds, in order, numbered from the first that it read.
 *
 * No more than a fixed number: the oldest are dropped, and read again when they are wanted.
 */

/** How many there are at most; beyond, a tenth is dropped at once. */
const MOST_ROWS = 100_000;

export class Rows {
  constructor() {
    this.clear();
  }

  /** Number behind the last. */
  get end() {
    return this.first + this.events.length;
  }

  clear() {
    /** Number of the first; negative if older ones were read later. */
    this.first = 0;
    this.events = [];
    this.times = [];
  }

  at(number) {
    return this.events[number - this.first];
  }

  timeAt(number) {
    return this.times[number - this.first];
  }

  push(event, time) {
    this.events.push(event);
    this.times.push(time);
    if (this.events.length > MOST_ROWS) {
      const dropped = MOST_ROWS / 10;
      this.events.splice(0, dropped);
      this.times.splice(0, dropped);
      this.first += dropped;
    }
  }

  /** Older ones, before the first. */
  prepend(events, times) {
    this.events.unshift(...events);
    this.times.unshift(...times);
    this.first -= events.length;
  }

  /** The number of the first event at or after a time. */
  since(time) {
    const found = this.times.findIndex((each) => each >= time);
    return this.first + Math.max(0, found);
  }
}
