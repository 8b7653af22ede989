/**
 * History and live events of a source, in batches as they come.
 *
 * Owns the seam between the two, and what happens when a connection breaks.
 */

import { Attention } from "./attention.js";
import { ChannelEvent, StreamEvent } from "./event.js";
import { FrameParser } from "./frames.js";
import { eventOfRow, linesOf, textOf } from "./lines.js";
import { Backoff, passes, request } from "./requests.js";

const FIRST_WAIT = 500;
const STREAM = "x-event-store-stream";
const VERSION = "x-event-store-version";

/**
 * Reads one history from its beginning to its end; a connection that breaks off is made again.
 *
 * What was stored stays as it is, so the read goes on with the first event that was not seen.
 * @param {import("./address.js").Address} address
 * @param {object} part what `Address.history` takes
 * @param {AbortSignal} signal
 * @param {(cursor: string) => void} tellEnd called at the end: where to go on from
 */
export async function* readHistory(address, part, signal, tellEnd) {
  const url = address.history(part);
  const backoff = new Backoff();
  let seen = 0;
  for (;;) {
    try {
      const response = await request(url, { signal, headers: { Accept: accepted(address) } });
      const read = address.isStream ? documents(response) : rows(response);
      let skip = seen;
      let last = "";
      for await (const batch of read) {
        last = batch.at(-1).id;
        const fresh = skip ? batch.slice(skip) : batch;
        skip -= batch.length - fresh.length;
        if (!fresh.length) continue;
        seen += fresh.length;
        backoff.clear();
        yield fresh;
      }
      const version = response.headers.get(VERSION);
      tellEnd(version ?? (last || String(part.since ?? "start")));
      return;
    } catch (error) {
      signal.throwIfAborted();
      // The last of them are others now: what was missed cannot be told from them.
      if (!seen || part.tail !== undefined || !passes(error, signal)) throw error;
    }
    await backoff.wait(FIRST_WAIT, signal);
  }
}

/**
 * Follows a source; connects again for as long as the hub can be hoped for.
 * @param {import("./address.js").Address} address
 * @param {import("./place.js").Place} place how far the reader has come
 * @param {AbortSignal} signal
 * @param {import("../hub.js").Options} options
 */
export async function* follow(address, place, signal, options) {
  const { event, whileHidden = true, onState = () => {}, onReset = () => {} } = options;
  const backoff = new Backoff();
  const attention = new Attention(whileHidden, signal);
  let retry = FIRST_WAIT;
  for (;;) {
    const parser = new FrameParser();
    const attended = await attention.given();
    try {
      place.resume();
      const response = await request(address.live(place.cursor, place.seen, event), {
        signal: attended,
        headers: { Accept: "text/event-stream" },
      });
      onState("open");
      for await (const text of textOf(response)) {
        let batch = [];
        for (const frame of parser.push(text)) {
          if (frame.id === undefined) {
            // The only frame without an id is `hub-reset`: what follows is another history.
            if (batch.length) yield batch;
            batch = [];
            place.clear();
            onReset();
          } else {
            const each = address.isStream
              ? new StreamEvent(frame.data, { id: frame.id })
              : new ChannelEvent(frame.id, frame.type, frame.data);
            if (place.passes(each)) batch.push(each);
          }
        }
        backoff.clear();
        if (batch.length) yield batch;
      }
    } catch (error) {
      signal.throwIfAborted();
      if (attended.aborted) continue;
      if (!passes(error, signal)) throw error;
    }
    retry = parser.retry ?? retry; // a hub that is full or closing asks for a longer time
    onState("waiting");
    await backoff.wait(retry, signal);
  }
}

/**
 * Where a source ends now: the cursor of who wants only what is new.
 * @param {import("./address.js").Address} address
 * @param {AbortSignal} signal
 */
export async function findEnd(address, signal) {
  let cursor = "start";
  for await (const _ of readHistory(address, { tail: 1 }, signal, (end) => (cursor = end)));
  return cursor;
}

function accepted(address) {
  return address.isStream ? "application/x-ndjson" : "text/tab-separated-values";
}

async function* rows(response) {
  for await (const lines of linesOf(response)) yield lines.map(eventOfRow);
}

async function* documents(response) {
  const log = response.headers.get(STREAM) ?? undefined;
  for await (const lines of linesOf(response)) {
    yield lines.map((line) => new StreamEvent(line, { log }));
  }
}
