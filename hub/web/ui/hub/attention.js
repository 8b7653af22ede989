/**
 * Whether somebody looks: a page that is hidden gives its connection back.
 *
 * A browser keeps six connections to one host for all of its tabs together.
 */

const PATIENCE = 10_000;

/** Lends a connection for as long as the page is seen. */
export class Attention {
  #lost = new AbortController();

  /**
   * @param {boolean} always whether the connection stays while the page is hidden
   * @param {AbortSignal} signal ends everything
   */
  constructor(always, signal) {
    this.always = always;
    this.signal = signal;
  }

  /**
   * Waits until the page is seen.
   * @returns {Promise<AbortSignal>} aborted when it has been hidden for ten seconds
   */
  async given() {
    if (this.always) return this.signal;
    this.#lost.abort();
    if (document.hidden) await this.#change();
    const lost = (this.#lost = new AbortController());
    let timer;
    const watch = () => {
      clearTimeout(timer);
      if (document.hidden) timer = setTimeout(() => lost.abort(), PATIENCE);
    };
    const either = AbortSignal.any([this.signal, lost.signal]);
    document.addEventListener("visibilitychange", watch, { signal: either });
    return either;
  }

  #change() {
    return new Promise((resolve, reject) => {
      document.addEventListener("visibilitychange", resolve, { once: true, signal: this.signal });
      this.signal.addEventListener("abort", () => reject(this.signal.reason), { once: true });
    });
  }
}
