/**
 * When an event happened: a time in its data, if it has one, else when it was stored.
 *
 * Who imports the history of years stores it within seconds; then only the data knows.
 */

import { timeOf } from "../hub/event.js";

const SAMPLE = 200;
const MOST = 0.9;
const USUAL = ["at", "time", "timestamp", "ts", "date", "occurredAt", "createdAt", "created_at", "when"];
const YEAR_2000 = 946_684_800;
const YEAR_2100 = 4_102_444_800;

/** The name for: when the hub stored it. */
export const STORED = "";

/**
 * The fields that hold a time in nearly all events.
 * @param {{json: unknown}[]} events some of them are looked at
 * @returns {string[]} the likeliest first
 */
export function timeFields(events) {
  const found = new Map();
  const sample = events.slice(0, SAMPLE);
  for (const { json } of sample) {
    if (!isObject(json)) continue;
    for (const [key, value] of Object.entries(json)) {
      if (!Number.isNaN(parse(value))) found.set(key, (found.get(key) ?? 0) + 1);
    }
  }
  const rank = (name) => (USUAL.includes(name) ? USUAL.indexOf(name) : USUAL.length);
  return [...found]
    .filter(
      ([key, number]) => number >= MOST * sample.length && (USUAL.includes(key) || isDated(sample, key)),
    )
    .map(([key]) => key)
    .sort((a, b) => rank(a) - rank(b));
}

/**
 * When an event happened, in milliseconds since 1970; NaN if that cannot be told.
 * @param {{json: unknown, time: number}} event
 * @param {string} field of its data, or STORED
 */
export function timeIn(event, field) {
  return field === STORED ? event.time : parse(event.json?.[field]);
}

// A number of no telling name may be anything; a text that reads as a time is one.
function isDated(sample, key) {
  return sample.some(({ json }) => typeof json?.[key] === "string");
}

function parse(value) {
  if (typeof value === "string") return timeOf(value);
  if (typeof value !== "number") return NaN;
  if (value > YEAR_2000 && value < YEAR_2100) return value * 1000;
  if (value > YEAR_2000 * 1000 && value < YEAR_2100 * 1000) return value;
  return NaN;
}

function isObject(value) {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
