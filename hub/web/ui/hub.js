/**
 * The hub for web pages: follow events, read their history, fold them into a state.
 *
 *     import { replay } from "http://localhost:9000/ui/hub.js";
 *
 *     for await (const event of replay("orders")) {
 *       console.log(event.id, event.type, event.json);
 *     }
 *
 * A source is a channel (`"orders"`), a stream (`"streams/order/17"`, `"streams/_all"`,
 * `"streams/category/order"`), a query (`"query?types=Paid"`) or a whole URL. Names are
 * those of the hub that served this module.
 *
 * An event has `id` (what to resume after), `type`, `data` (text), `json` (the data, parsed;
 * undefined if it is no JSON) and `time` (milliseconds since 1970 when it was stored; NaN if
 * the id is no time). One of a stream also has `stream`, `metadata` and `text`, its document;
 * its `json` is the payload.
 *
 * Loops that follow connect again by themselves, also through restarts of the hub, and see every
 * event once. Leaving a loop closes its connection; an aborted `signal` ends it with the signal's
 * reason. A browser keeps six HTTP/1.1 connections to one host: each loop that follows is one.
 *
 * If the hub does not know the place any more, because the channel is another one now (its directory
 * was restored, say), `onReset` is called, and then comes everything from the start. `scan` starts over
 * by itself.
 *
 * @module
 */

import { Address } from "./hub/address.js";
import { Place } from "./hub/place.js";
import { findEnd, follow, readHistory, readOn } from "./hub/reading.js";
import { HubError, request } from "./hub/requests.js";

export { HubError };

/** @typedef {import("./hub/event.js").ChannelEvent | import("./hub/event.js").StreamEvent} HubEvent */

/**
 * @typedef {object} Options
 * @property {string | number} [since] only events after this one: an id or a time (of a stream: a
 *   revision or position), or "start"
 * @property {string} [event] only events of this type
 * @property {AbortSignal} [signal] ends the loop
 * @property {boolean} [batches] yield arrays of events, as they came: for a page that draws once for many
 * @property {boolean} [whileHidden] false: give the connection back while the page is hidden, and go on
 *   where it was when it is seen again
 * @property {() => void} [onReset] forget what was before: the history begins anew
 * @property {(state: "open" | "waiting") => void} [onState] whether it is connected, or about to try again
 */

/**
 * The events that there are, oldest first.
 *
 * A connection that breaks off is made again, and the loop goes on where it was.
 *
 *     for await (const event of history("orders", { tail: 10 })) show(event);
 *
 * @param {string | URL} source
 * @param {Omit<Options, "onState" | "onReset" | "whileHidden"> & {until?: string, tail?: number, limit?: number}} [options]
 *   `until` (an id or a time, inclusive) and `limit` are for channels only
 * @returns {AsyncGenerator<HubEvent, void>}
 * @throws {HubError} what the hub answered; `TypeError` if it cannot be reached
 */
export async function* history(source, { signal, batches, ...part } = {}) {
  const read = cancellable(signal, (own) => {
    const address = new Address(source);
    return readHistory(address, address.part(part), own, () => {});
  });
  yield* batches ? read : flat(read);
}

/**
 * The events that come from now on, or from `since` on.
 *
 *     for await (const event of subscribe("orders", { event: "placed" })) ring(event.json);
 *
 * @param {string | URL} source
 * @param {Options} [options]
 * @returns {AsyncGenerator<HubEvent, void>}
 * @throws {HubError} where trying again is pointless, as for a name that no channel can have
 */
export async function* subscribe(source, options = {}) {
  const { signal, batches } = options;
  const address = new Address(source);
  const part = address.part(options);
  const read = cancellable(signal, async function* (own) {
    const event = address.isStream ? undefined : part.event;
    const known = part.since !== undefined;
    const place = known ? new Place(String(part.since), event) : await findEnd(address, event, own);
    yield* follow(address, place, own, part);
  });
  yield* batches ? read : flat(read);
}

/**
 * The history in bulk, then what comes, with no gap or double in between.
 *
 * @param {string | URL} source
 * @param {Options & {tail?: number, onLive?: () => void}} [options] `tail`: begin with the last so many;
 *   `onLive` is called when the history is through
 * @returns {AsyncGenerator<HubEvent, void>}
 */
export async function* replay(source, options = {}) {
  const { signal, batches, onLive = () => {} } = options;
  const address = new Address(source);
  const part = { ...address.part(options), onLive };
  const read = cancellable(signal, (own) => readOn(address, part, own));
  yield* batches ? read : flat(read);
}

/**
 * The state after all events that there are.
 *
 *     const total = await fold("orders", (sum, event) => sum + event.json.price, 0);
 *
 * @template State
 * @param {string | URL} source
 * @param {(state: State, event: HubEvent) => State} reducer may change the state in place; returns it
 * @param {State} initial copied, so that it stays as it is
 * @param {Omit<Options, "batches" | "onState" | "onReset" | "whileHidden"> & {until?: string, onProgress?: (events: number) => void}} [options]
 *   `onProgress` is told how many events were folded, from time to time
 * @returns {Promise<State>}
 * @throws what the reducer throws, and what `history` does
 */
export async function fold(source, reducer, initial, { onProgress = () => {}, ...options } = {}) {
  let state = structuredClone(initial);
  let count = 0;
  for await (const batch of history(source, { ...options, batches: true })) {
    for (const event of batch) state = reducer(state, event);
    count += batch.length;
    onProgress(count);
  }
  return state;
}

/**
 * The state after each event, from the start of the history on, and live.
 *
 *     for await (const total of scan("orders", (sum, event) => sum + event.json.price, 0)) {
 *       output.textContent = total;
 *     }
 *
 * @template State
 * @param {string | URL} source
 * @param {(state: State, event: HubEvent) => State} reducer
 * @param {State} initial
 * @param {Options} [options] with `batches`, one state after each batch
 * @returns {AsyncGenerator<State, void>}
 */
export async function* scan(source, reducer, initial, { batches, ...options } = {}) {
  let state = structuredClone(initial);
  const onReset = () => {
    state = structuredClone(initial);
    options.onReset?.();
  };
  for await (const batch of replay(source, { ...options, batches: true, onReset })) {
    for (const event of batch) {
      state = reducer(state, event);
      if (!batches) yield state;
    }
    if (batches) yield state;
  }
}

/**
 * Post one event.
 *
 *     const id = await publish("orders", { item: "tea" }, { event: "placed" });
 *
 * @param {string | URL} source a channel
 * @param {unknown} data text, or anything that JSON can hold
 * @param {{event?: string, id?: string, signal?: AbortSignal}} [options]
 * @returns {Promise<string>} its id: it is on disk
 */
export async function publish(source, data, { event, id, signal } = {}) {
  const url = new Address(source).url;
  if (event !== undefined) url.searchParams.set("event", event);
  if (id !== undefined) url.searchParams.set("id", id);
  const text = typeof data === "string" ? data : (JSON.stringify(data) ?? "");
  const body = text + "\n"; // the hub drops one line break at the end
  return (await request(url, { method: "POST", body, signal })).text().then((id) => id.trimEnd());
}

/** Runs a generator under a signal of its own: leaving the loop ends its requests, and its waits. */
async function* cancellable(outer, generator) {
  const controller = new AbortController();
  const signal = outer ? AbortSignal.any([outer, controller.signal]) : controller.signal;
  signal.throwIfAborted();
  try {
    yield* generator(signal);
  } finally {
    controller.abort();
  }
}

async function* flat(batches) {
  for await (const batch of batches) yield* batch;
}
