/**
 * History and live events of a source, in batches as they come.
 *
 * Owns the seam between the two, and what happens when a connection breaks.
 */

import { Attention } from "./attention.js";
import { ChannelEvent, StreamEvent } from "./event.js";
import { FrameParser } from "./frames.js";
import { eventOfRow, linesOf, textOf } from "./lines.js";
import { isOwn, Place, START } from "./place.js";
import { Backoff, passes, request } from "./requests.js";

const FIRST_WAIT = 500;
/** By how much more is asked for, where what came does not tell enough. */
const GROWTH = 8;
const UNKNOWN_ID = "unknown_id";
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
      const read = address.isStream ? documents(response) : rowsOf(response);
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
 * Reads a history, and goes on with what comes.
 * @param {import("./address.js").Address} address
 * @param {import("../hub.js").Options & {tail?: number, onLive: () => void}} options
 * @param {AbortSignal} signal
 */
export async function* readOn(address, options, signal) {
  const { since, tail, event, onLive, onReset = () => {} } = options;
  let place = new Place(String(since ?? START), address.isStream ? undefined : event);
  if (address.isStream) {
    yield* readHistory(address, { since, tail, event }, signal, (end) => (place.cursor = end));
  } else if (tail === 0) {
    place = await findEnd(address, event, signal);
  } else if (tail !== undefined) {
    const last = await readTail(address, place, tail, event, signal);
    if (last.length) yield last;
  }
  if (!address.isStream && (tail === undefined || place.turned)) {
    yield* catchUp(address, place, signal, onReset);
  }
  onLive();
  yield* follow(address, place, signal, options);
}

/**
 * Reads what a channel has behind a place; a connection that breaks off is made again.
 * @param {import("./address.js").Address} address
 * @param {Place} place how far the reader has come
 * @param {AbortSignal} signal
 * @param {() => void} onReset
 */
async function* catchUp(address, place, signal, onReset) {
  const backoff = new Backoff();
  let connected = false;
  for (;;) {
    try {
      await connect(address, place, signal);
      const part = { since: place.cursor, event: place.asked };
      const batches = await open(address, part, signal);
      connected = true;
      for await (const batch of batches) {
        backoff.clear();
        const fresh = place.take(batch);
        if (fresh.length) yield fresh;
        if (place.turned) break;
      }
      if (!place.turned) return;
      continue;
    } catch (error) {
      signal.throwIfAborted();
      if (place.seen && error.code === UNKNOWN_ID) {
        place.reset();
        onReset();
        continue;
      }
      if (!connected || !passes(error, signal)) throw error;
    }
    await backoff.wait(FIRST_WAIT, signal);
  }
}

/**
 * The last events of a channel; the place is behind them then, unless it has turned.
 * @param {import("./address.js").Address} address
 * @param {Place} place where they begin at the earliest
 * @param {number} count how many, 1 at least
 * @param {string | undefined} event only those of this type
 * @param {AbortSignal} signal
 */
async function readTail(address, place, count, event, signal) {
  await connect(address, place, signal);
  const since = place.cursor;
  for (let size = count; ; ) {
    const rows = await all(await open(address, { since, tail: size, event: place.asked }, signal));
    if (place.asked !== undefined) {
      const fresh = place.take(rows);
      if (!place.turned || fresh.length) return fresh;
      place.connect();
      continue;
    }
    // How many events in a row share the last id must be known.
    const wanted = event === undefined ? rows.length : rows.filter(({ type }) => type === event).length;
    const told = rows[0]?.id !== rows.at(-1)?.id || (size === 1 && isOwn(rows[0]?.id));
    if (rows.length < size || (told && wanted >= count)) return place.take(rows).slice(-count);
    size *= GROWTH;
  }
}

/**
 * Follows a source; connects again for as long as the hub can be hoped for.
 * @param {import("./address.js").Address} address
 * @param {Place} place how far the reader has come
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
      await connect(address, place, attended);
      const asked = address.isStream ? event : place.asked;
      const response = await request(address.live(place.cursor, place.seen, asked), {
        signal: attended,
        headers: { Accept: "text/event-stream" },
      });
      onState("open");
      for await (const text of textOf(response)) {
        const came = [];
        for (const frame of parser.push(text)) {
          if (frame.id === undefined) {
            // `hub-reset`, always the first: what follows is another history.
            place.reset();
            onReset();
          } else if (address.isStream) came.push(new StreamEvent(frame.data, { id: frame.id }));
          else came.push(new ChannelEvent(frame.id, frame.type, frame.data));
        }
        backoff.clear();
        const fresh = place.take(came);
        if (fresh.length) yield fresh;
        if (place.turned) break;
      }
      if (place.turned) continue;
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
 * Where a source ends now: the place of who wants only what is new.
 * @param {import("./address.js").Address} address
 * @param {string | undefined} event the type that is wanted
 * @param {AbortSignal} signal
 */
export async function findEnd(address, event, signal) {
  if (address.isStream) {
    let end = START;
    for await (const _ of readHistory(address, { tail: 1 }, signal, (cursor) => (end = cursor)));
    return new Place(end);
  }
  const run = await runUntil(address, undefined, signal);
  return run.length ? new Place(run[0].id, event, run.length) : new Place(START, event);
}

/** Makes a place ready for what comes behind it. */
async function connect(address, place, signal) {
  if (place.isVague) {
    const run = await runUntil(address, place.cursor, signal).catch((error) => {
      if (error.code !== UNKNOWN_ID) throw error;
      return [];
    });
    place.settle(run);
  }
  place.connect();
}

/** The last events of a channel in a row that share an id; with `until`, up to that id or time. */
async function runUntil(address, until, signal) {
  for (let tail = 2; ; tail *= GROWTH) {
    const rows = await all(await open(address, { until, tail }, signal));
    let run = rows.length;
    while (run && rows[run - 1].id === rows.at(-1).id) run -= 1;
    if (run || rows.length < tail) return rows.slice(run);
  }
}

/** The events of a part of a history, batch by batch. */
async function open(address, part, signal) {
  const headers = { Accept: accepted(address) };
  const response = await request(address.history(part), { signal, headers });
  return address.isStream ? documents(response) : rowsOf(response);
}

async function all(batches) {
  const found = [];
  for await (const batch of batches) {
    for (const each of batch) found.push(each);
  }
  return found;
}

function accepted(address) {
  return address.isStream ? "application/x-ndjson" : "text/tab-separated-values";
}

async function* rowsOf(response) {
  for await (const lines of linesOf(response)) yield lines.map(eventOfRow);
}

async function* documents(response) {
  const log = response.headers.get(STREAM) ?? undefined;
  for await (const lines of linesOf(response)) {
    yield lines.map((line) => new StreamEvent(line, { log }));
  }
}
