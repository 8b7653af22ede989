/**
 * Reads what a view shows: all of a small log, the end of a large one, or from a place on.
 *
 * It reads on as far as somebody looks: a connection that is not read costs the hub nothing.
 */

import { history, replay } from "../hub.js";
import { findStream, versionOf } from "./hub-api.js";

/** A log of more bytes is read from its end. */
const WHOLE_BYTES = 32_000_000;
const WHOLE_EVENTS = 100_000;
export const TAIL = 1000;
const SAMPLE = 100;
/** Events, and milliseconds, after which the page may draw. */
const SLICE = 1000;
const SLICE_TIME = 12;

/**
 * @typedef {object} Plan
 * @property {number | undefined} tail how many of the last; undefined: all
 * @property {number} [total] how many there are, if that is known
 * @property {boolean} [hasOlder] whether older ones can be read later
 */

/**
 * How much to read of a source that is opened at its end.
 * @param {import("./source.js").Source} source
 * @param {boolean} whole read all of it, however much that is
 * @param {AbortSignal} signal
 * @returns {Promise<Plan>}
 */
export async function planOf(source, whole, signal) {
  const entry = source.isMany ? undefined : await findStream(source.name, signal);
  if (source.isMany || entry?.derived) return planOfView(source, whole, signal);
  const total = source.event === undefined ? (entry?.version ?? 0) : undefined;
  const bytes = entry?.metadata.bytes ?? 0;
  if (whole || bytes <= WHOLE_BYTES) return { tail: undefined, total };
  // Of events that are large, fewer.
  const tail = Math.min(TAIL, Math.ceil((WHOLE_BYTES * entry.version) / bytes));
  return { tail, total, hasOlder: true };
}

// The numbers of its events are told by what follows it only, so that one cannot page back.
async function planOfView(source, whole, signal) {
  const version = await versionOf(source.path, source.query, signal);
  const isCounted = source.event === undefined && (source.name === "_all" || !source.isMany);
  const total = isCounted ? version : undefined;
  return { tail: whole || version <= WHOLE_EVENTS ? undefined : WHOLE_EVENTS, total };
}

/**
 * The first events, to see what they are like.
 * @param {import("./source.js").Source} source
 * @param {AbortSignal} signal
 */
export async function sample(source, signal) {
  const { event } = source;
  const url = source.read;
  if (source.isStream) url.pathname += `/forwards/${SAMPLE}`;
  const part = source.isStream ? { event } : { event, limit: SAMPLE };
  const found = [];
  for await (const batch of history(url, { ...part, signal, batches: true })) found.push(...batch);
  return found;
}

/**
 * Reads, and then follows, batch by batch; lets the page draw in between.
 * @param {import("./source.js").Source} source
 * @param {Plan} plan
 * @param {object} tell
 * @param {(events: import("../hub.js").HubEvent[]) => void | Promise<void>} tell.onEvents may wait
 * @param {() => void} tell.onLive
 * @param {() => void} tell.onReset
 * @param {(state: "open" | "waiting") => void} tell.onState
 * @param {AbortSignal} signal
 */
export async function load(source, plan, { onEvents, ...tell }, signal) {
  const { since, event } = source;
  const options = { since, event, tail: plan.tail, signal, batches: true, whileHidden: false, ...tell };
  let begun = performance.now();
  for await (const batch of replay(source.read, options)) {
    for (let at = 0; at < batch.length; at += SLICE) {
      await onEvents(batch.slice(at, at + SLICE));
      if (performance.now() - begun < SLICE_TIME) continue;
      await new Promise((resolve) => setTimeout(resolve));
      begun = performance.now();
    }
  }
}

/**
 * Older events of a channel than those that are there.
 * @param {import("./source.js").Source} source
 * @param {import("../hub.js").HubEvent[]} known the oldest ones first
 * @param {number} most how many
 * @param {AbortSignal} signal
 * @returns {Promise<{events: import("../hub.js").HubEvent[], isAll: boolean} | undefined>}
 *   undefined: ids come more than once, so that the place cannot be told
 */
export async function loadOlder(source, known, most, signal) {
  if (source.isStream) return loadRevisions(source, Number(known[0].id), most, signal);
  const { id } = known[0];
  const run = known.findIndex((each) => each.id !== id);
  const shared = run < 0 ? known.length : run;
  const found = [];
  const part = { until: id, tail: most + shared, event: source.event, signal, batches: true };
  for await (const batch of history(source.read, part)) found.push(...batch);
  const events = found.slice(0, -shared);
  const same = found.slice(-shared).every((each, at) => each.id === id && each.data === known[at].data);
  return same ? { events, isAll: events.length < most } : undefined;
}

async function loadRevisions(source, before, most, signal) {
  if (!(before > 0)) return undefined;
  const from = Math.max(1, before - most);
  if (before === 1) return { events: [], isAll: true };
  const events = [];
  const url = new URL(`${source.path}/from/${from}/until/${before - 1}${source.query}`, source.page);
  for await (const batch of history(url, { event: source.event, signal, batches: true }))
    events.push(...batch);
  return { events, isAll: from === 1 };
}
