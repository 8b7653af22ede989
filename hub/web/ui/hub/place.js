/**
 * How far a reader of a channel has come, so that it can go on there.
 *
 * Ids need not be unique. The hub goes on right after the first event of the
 * latest run of one id, so that no event of a run is lost; those of them that
 * were seen already come again, and are dropped here.
 */
export class Place {
  #run = 0;
  #first = "";
  #repeated = 0;

  /**
   * @param {string} cursor what to begin after
   * @param {boolean} filtered whether only events of one type are read
   */
  constructor(cursor, filtered) {
    this.cursor = cursor;
    this.filtered = filtered;
  }

  /** The next events are those after `cursor`, from a new connection. */
  resume() {
    this.#repeated = this.#run;
  }

  /**
   * Whether an event is new; it is then the one to resume after.
   * @param {import("./event.js").ChannelEvent} event
   */
  passes(event) {
    if (this.#repeated) {
      if (event.id !== this.cursor) {
        this.#repeated = 0;
      } else if (this.#repeated === this.#run && !this.#repeatsFirst(event)) {
        this.#repeated -= 1; // the first of the run does not come again
      }
      if (this.#repeated) {
        this.#repeated -= 1;
        return false;
      }
    }
    if (event.id === this.cursor && this.#run) {
      this.#run += 1;
    } else {
      this.cursor = event.id;
      this.#run = 1;
      this.#first = event.type + "\n" + event.data;
    }
    return true;
  }

  /** Whether the cursor is that of an event that passed here. */
  get seen() {
    return this.#run > 0;
  }

  /** Forget everything: the channel is another one, which comes from its start. */
  clear() {
    this.cursor = "start";
    this.#run = this.#repeated = 0;
  }

  // If one type is read, the first of the run in the log may be one that was not sent.
  #repeatsFirst(event) {
    return this.filtered && this.#first === event.type + "\n" + event.data;
  }
}
