/**
 * What an event is, from a channel and from a stream.
 *
 * JSON is parsed when it is first asked for: who shows only what fits on the
 * screen does not pay for the rest.
 */

const TIME = /^\d{4}-\d\d-\d\dT\d\d:\d\d/;

/** One event of a channel. */
export class ChannelEvent {
  #json;
  #parsed = false;

  /**
   * @param {string} id what to resume after
   * @param {string} type may be empty
   * @param {string} data as it was posted, its line breaks as LF
   */
  constructor(id, type, data) {
    this.id = id;
    this.type = type;
    this.data = data;
  }

  /** The data as JSON; undefined if it is none. */
  get json() {
    if (!this.#parsed) {
      this.#parsed = true;
      this.#json = parse(this.data);
    }
    return this.#json;
  }

  /** When it was stored, in milliseconds since 1970; NaN if its id is no time. */
  get time() {
    return timeOf(this.id);
  }
}

/** One event of a stream: its payload, and what the hub keeps beside it. */
export class StreamEvent {
  #document;
  #id;
  #log;

  /**
   * @param {string} text the NDJSON document
   * @param {{id?: string, log?: string}} known its revision or position; or the name of the log
   *   that is read, whose documents tell their revisions themselves
   */
  constructor(text, { id, log }) {
    this.text = text;
    this.#id = id;
    this.#log = log;
  }

  /** What to resume after: its revision or position; "" in a history of many streams together. */
  get id() {
    const told = this.stream === this.#log;
    return (this.#id ??= told ? String(this.metadata.streamVersion + 1) : "");
  }

  get #parsed() {
    return (this.#document ??= parse(this.text) ?? {});
  }

  /** The stream that it was committed to. */
  get stream() {
    return this.#parsed.stream;
  }

  /** `id`, `commitId`, `committedAt`, `streamVersion`, and what the commit gave. */
  get metadata() {
    return this.#parsed.metadata ?? {};
  }

  get type() {
    const type = this.#parsed.payload?.type;
    return typeof type === "string" ? type : "";
  }

  /** The payload. */
  get json() {
    return this.#parsed.payload;
  }

  /** The payload as text, written anew: numbers beyond 2^53 have lost digits. */
  get data() {
    return JSON.stringify(this.json);
  }

  /** When it was stored, in milliseconds since 1970; NaN if that is not known. */
  get time() {
    return this.metadata.committedAt ?? timeOf(this.metadata.id ?? "");
  }
}

/** The time that a text begins with, in milliseconds since 1970; NaN if it is none. */
export function timeOf(text) {
  return TIME.test(text) ? Date.parse(text) : NaN;
}

function parse(text) {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
