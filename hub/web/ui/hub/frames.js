/**
 * Server-sent events, read incrementally (WHATWG HTML, 9.2.6).
 *
 * Not `EventSource`, which tells only of types that were asked for by name, and a
 * channel may hold any; nor can it be aborted by a signal, or say why it failed.
 */

/**
 * @typedef {object} Frame
 * @property {string} type "" if it has none
 * @property {string} data
 * @property {string | undefined} id undefined if the frame has none of its own
 */

/** Text in, frames out. */
export class FrameParser {
  /** Milliseconds that the hub asks to wait before connecting again; undefined until it does. */
  retry = undefined;

  #open = "";
  #type = "";
  #data = [];
  #id = undefined;

  /**
   * @param {string} text the next piece
   * @returns {Frame[]} the frames that it completes
   */
  push(text) {
    // A CR at the very end may be half of a CR LF: it waits for what follows.
    const whole = this.#open + text;
    const cut = whole.endsWith("\r") ? whole.length - 1 : whole.length;
    const lines = whole.slice(0, cut).split(/\r\n|\n|\r/);
    this.#open = lines.pop() + whole.slice(cut);
    const frames = [];
    for (const line of lines) {
      if (line === "") this.#dispatch(frames);
      else this.#take(line);
    }
    return frames;
  }

  #take(line) {
    const colon = line.indexOf(":");
    const field = colon < 0 ? line : line.slice(0, colon);
    let value = colon < 0 ? "" : line.slice(colon + 1);
    if (value.startsWith(" ")) value = value.slice(1);
    if (field === "data") this.#data.push(value);
    else if (field === "event") this.#type = value;
    else if (field === "id") this.#id = value;
    else if (field === "retry" && /^\d+$/.test(value)) this.retry = Number(value);
  }

  #dispatch(frames) {
    if (this.#data.length) {
      frames.push({ type: this.#type, data: this.#data.join("\n"), id: this.#id });
    }
    this.#type = "";
    this.#data = [];
    this.#id = undefined;
  }
}
