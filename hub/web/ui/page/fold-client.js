/**
 * The page's end of the fold worker: questions and answers.
 */

const SLOW = 5000;
const GRACE = 1000;

export class FoldClient {
  #worker = new Worker("/ui/fold-worker.js");
  #waiting = new Map();
  #last = 0;

  /** @param {() => void} onSlow called if a reducer takes very long, perhaps for ever */
  constructor(onSlow) {
    this.onSlow = onSlow;
    this.#worker.onmessage = ({ data: { id, result, error } }) => {
      const { resolve, reject, timer } = this.#waiting.get(id);
      this.#waiting.delete(id);
      clearTimeout(timer);
      if (error === undefined) resolve(result);
      else reject(new Error(error));
    };
  }

  /**
   * Give the worker a task; see there which.
   * @throws what went wrong, with the reducer's own words
   */
  ask(task, rest = {}) {
    return new Promise((resolve, reject) => {
      this.#last += 1;
      const timer = setTimeout(this.onSlow, SLOW);
      this.#waiting.set(this.#last, { resolve, reject, timer });
      this.#worker.postMessage({ id: this.#last, task, ...rest });
    });
  }

  /**
   * Fold events.
   * @param {import("../hub.js").HubEvent[]} events
   * @param {(event: import("../hub.js").HubEvent) => number} timeOf
   */
  push(events, timeOf) {
    const rows = events.map((each) => [
      each.id,
      each.type,
      each.data,
      timeOf(each),
      each.stream,
      each.metadata,
    ]);
    return this.ask("push", { rows });
  }

  /** End it if it does not answer any more: a reducer may loop for ever. */
  endIfStuck() {
    setTimeout(() => this.#waiting.size && this.close(), GRACE);
  }

  /** End it, also in the middle of a task. */
  close() {
    this.#worker.terminate();
    for (const { timer } of this.#waiting.values()) clearTimeout(timer);
  }
}
