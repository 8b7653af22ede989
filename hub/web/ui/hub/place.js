/**
 * How far a reader of a channel has come, so that it can go on there.
 *
 * Ids need not be unique. The hub goes on right after the first event of the
 * latest run of one id, so that no event of a run is lost; those of them that
 * were seen already come again, and are dropped here.
 *
 * Who wants one type asks the hub for that only while ids tell its place for
 * sure: as long as they are in the hub's own form, and rise. What is of another
 * type may share an id with what is wanted, and stand between two events of one
 * id; who does not see it cannot know where the hub would go on. From the first
 * other id on, all types are asked for, and the one is picked out here.
 */

/** What is before the first event. */
export const START = "start";

const OWN = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z$/;

/** Whether an id looks like one that the hub gives. */
export function isOwn(id) {
  return OWN.test(id);
}

/** Where one reader is, over all of its connections. */
export class Place {
  #event;
  #whole; // whether `run` counts events of all types
  #repeated = 0;

  /**
   * @param {string} cursor what to begin after
   * @param {string} [event] the type that is wanted; undefined: all
   * @param {number} [run] how many events in a row, of all types, have this id; 0 if somebody
   *   else gave it: behind the first of them, if it is an id and not a time
   */
  constructor(cursor, event, run = 0) {
    this.#event = event;
    this.cursor = cursor;
    this.run = run;
    this.#whole = run > 0;
    const sure = cursor === START || isOwn(cursor);
    /** The type that the hub is to be asked for; undefined: all. */
    this.asked = sure ? event : undefined;
    /** Whether `settle` has to be called before the next connection. */
    this.isVague = event !== undefined && !sure && !this.#whole;
    /** Whether another connection is needed, from the cursor on, which asks for more. */
    this.turned = false;
  }

  /** Whether the cursor is that of an event that was seen. */
  get seen() {
    return this.run > 0;
  }

  /**
   * Take in the last events in a row of the log up to the cursor.
   * @param {import("./event.js").ChannelEvent[]} run
   */
  settle(run) {
    const known = run.at(-1)?.id === this.cursor; // else the cursor is a time
    if (this.run) this.run = 1 + Math.max(0, known ? run.findIndex((each) => this.#wants(each)) : 0);
    else if (!known) this.asked = this.#event;
    this.#whole = true;
    this.isVague = false;
  }

  /** What comes next is what the hub has after the cursor. */
  connect() {
    this.turned = false;
    this.#repeated = this.asked === undefined ? Math.max(0, this.run - 1) : 0;
  }

  /** What comes next is another log, from its start. */
  reset() {
    this.cursor = START;
    this.run = this.#repeated = 0;
  }

  /**
   * What is new and wanted of the next events; afterwards look at `turned`.
   * @param {import("./event.js").ChannelEvent[]} came
   */
  take(came) {
    if (this.asked !== undefined) return this.#takeSure(came);
    let at = 0;
    while (at < this.#repeated && at < came.length && came[at].id === this.cursor) at += 1;
    this.#repeated = at === came.length ? this.#repeated - at : 0;
    const fresh = at ? came.slice(at) : came;
    this.#pass(fresh);
    return this.#event === undefined ? fresh : fresh.filter((each) => this.#wants(each));
  }

  #takeSure(came) {
    let last = isOwn(this.cursor) ? this.cursor : "";
    let sure = 0;
    while (sure < came.length && came[sure].id > last && isOwn(came[sure].id)) {
      last = came[sure].id;
      sure += 1;
    }
    if (sure) {
      this.cursor = last;
      this.run = 1;
      this.#whole = false;
    }
    if (sure === came.length) return came;
    this.turned = true;
    this.asked = undefined;
    this.isVague = this.seen && !this.#whole;
    return came.slice(0, sure);
  }

  #pass(fresh) {
    if (!fresh.length) return;
    const last = fresh.at(-1).id;
    let run = 1;
    while (run < fresh.length && fresh.at(-1 - run).id === last) run += 1;
    if (run === fresh.length && last === this.cursor) run += this.run || 1;
    this.cursor = last;
    this.run = run;
  }

  #wants(event) {
    return this.#event === undefined || event.type === this.#event;
  }
}
