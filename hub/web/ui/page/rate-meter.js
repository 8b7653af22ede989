/**
 * Events a second, from counts that are asked for now and then.
 */

const SAMPLES = 45;
const RECENT = 3;

export class RateMeter {
  #count;
  #time;

  constructor() {
    /** The latest rates, oldest first. */
    this.rates = [];
  }

  /**
   * @param {number} count of all events
   * @param {number} time in milliseconds
   */
  take(count, time) {
    if (this.#time !== undefined && time - this.#time < 500) return;
    if (this.#time !== undefined) {
      this.rates.push(Math.max(0, (1000 * (count - this.#count)) / (time - this.#time)));
      if (this.rates.length > SAMPLES) this.rates.shift();
    }
    this.#count = count;
    this.#time = time;
  }

  /** Events a second, now. */
  get now() {
    const recent = this.rates.slice(-RECENT);
    return recent.reduce((sum, each) => sum + each, 0) / (recent.length || 1);
  }
}
