/**
 * What the page asks of the hub beside events: the list of streams, consumers, health.
 *
 * Only what anybody can ask: see the HTTP reference.
 */

import { request } from "../hub/requests.js";

/**
 * @typedef {object} Stream one entry of the list
 * @property {string} stream its name
 * @property {number} version how many events it has
 * @property {boolean} closed
 * @property {boolean} derived
 * @property {string} format "tsv" or "ndjson"
 * @property {{bytes?: number, lastId?: string, lastTime?: number | null}} metadata
 */

/**
 * One page of the list, at most 1000 of them.
 * @param {Record<string, string>} part `prefix`, `after`, `limit`
 * @param {AbortSignal} signal
 * @returns {Promise<Stream[]>}
 */
export async function listStreams(part, signal) {
  return (await get(`/streams?${new URLSearchParams(part)}`, signal)).streams;
}

/** The entry of one stream; undefined if there is none. */
export async function findStream(name, signal) {
  const found = await listStreams({ prefix: name, limit: "1" }, signal);
  return found[0]?.stream === name ? found[0] : undefined;
}

/** The last revision, or position, of what a URL reads. */
export async function versionOf(path, query, signal) {
  return (await get(`${path}/version${query}`, signal)).version;
}

export async function health(signal) {
  return get("/health", signal);
}

export async function listConsumers(signal) {
  return (await get("/consumers", signal)).consumers;
}

export async function consumer(identifier, signal) {
  return get(`/consumers/${encodeURIComponent(identifier)}`, signal);
}

/** Let a consumer begin again. */
export async function resetConsumer(identifier, signal) {
  const url = `/consumers/${encodeURIComponent(identifier)}/reset`;
  return (await request(url, { method: "POST", body: "{}", signal })).json();
}

/** Commit events to a stream. */
export async function commit(name, events, signal) {
  const url = `/streams/${encodeURIComponent(name)}/commit`;
  return (await request(url, { method: "POST", body: JSON.stringify({ events }), signal })).json();
}

/** Whether a log can be read and written as a channel, at a URL of its own. */
export function isChannelName(name) {
  return (
    /^[A-Za-z0-9_-]{4,64}$/.test(name) && !/^(_[A-Za-z]*|streams|query|consumers|health|metrics)$/.test(name)
  );
}

/** Where the page shows a log, or a derived stream, which is never a channel. */
export function pathOf(name, isDerived = false) {
  if (isChannelName(name) && !isDerived) return `/${name}`;
  return `/streams/${encodeURIComponent(name)}`;
}

async function get(url, signal) {
  const headers = { Accept: "application/json" };
  return (await request(url, { signal, headers, cache: "no-cache" })).json();
}
