/**
 * Where a source is read: the URLs of channels, streams and queries.
 *
 * Owns what the parameters of a read are called. Must not know what is read.
 */

const HUB = new URL("../../", import.meta.url);
const CURSORS = ["since", "lastEventID", "last_event_id", "lastEventId"];
const PART = ["since", "tail", "event"];

/** The address of one channel, stream or query. */
export class Address {
  /**
   * @param {string | URL} source "orders", "streams/order/17", "query?types=Paid", or a whole URL;
   *   names are relative to the hub that served this module
   */
  constructor(source) {
    this.url = new URL(source, HUB);
    this.url.hash = "";
    const base = this.url.href.startsWith(HUB.href) ? HUB.pathname : "/";
    this.#path = this.url.pathname.slice(base.length);
  }

  #path;

  /** Whether it is numbered by revisions or positions; a channel is read by the ids of its events. */
  get isStream() {
    return /^(streams|query)(\/|$)/.test(this.#path);
  }

  /** Whether the documents of a history tell their own places: not if they are of many streams. */
  get isLog() {
    return !/^(query|streams\/(_all|join|category))(\/|$)/.test(this.#path);
  }

  /**
   * Which part is read: what the options say, else what the URL of a channel itself says.
   * @template {{since?: string | number, tail?: number, event?: string}} Part
   * @param {Part} options
   * @returns {Part}
   */
  part(options) {
    if (this.isStream) return options;
    const { since, tail, event } = Object.fromEntries(this.url.searchParams);
    return {
      ...options,
      since: options.since ?? since,
      tail: options.tail ?? (tail === undefined ? undefined : Number(tail)),
      event: options.event ?? event,
    };
  }

  /**
   * The URL of a part of the history.
   * @param {{since?: string | number, until?: string, tail?: number, limit?: number, event?: string}} part
   */
  history({ since, tail, event, ...rest } = {}) {
    const url = this.#of(event);
    if (!this.isStream) return withParameters(url, { since, tail, ...rest });
    if (tail !== undefined) return withWindow(url, `from/-${tail}`);
    if (since !== undefined && since !== "start") return withWindow(url, `from/${Number(since) + 1}`);
    return url;
  }

  /**
   * The URL that is followed from a cursor on.
   * @param {string} cursor
   * @param {boolean} seen whether it is that of an event that was seen, so that one which
   *   the hub does not know is of another history
   * @param {string} [event] only events of this type
   */
  live(cursor, seen, event) {
    const url = this.#of(event);
    for (const each of [...CURSORS, "tail"]) url.searchParams.delete(each);
    return withParameters(url, { [seen ? "lastEventID" : "since"]: cursor });
  }

  #of(event) {
    const url = new URL(this.url);
    if (this.isStream) {
      const filter = event === undefined ? undefined : JSON.stringify({ payload: { type: event } });
      return withParameters(url, { filter });
    }
    for (const each of PART) url.searchParams.delete(each);
    return withParameters(url, { event });
  }
}

function withParameters(url, parameters) {
  for (const [name, value] of Object.entries(parameters)) {
    if (value !== undefined) url.searchParams.set(name, String(value));
  }
  return url;
}

function withWindow(url, window) {
  url.pathname = `${url.pathname.replace(/\/+$/, "")}/${window}`;
  return url;
}
