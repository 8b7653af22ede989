/**
 * One event in one line: when, where, which type, and what is in it.
 */

import { h } from "./dom.js";
import { iso, moment } from "./format.js";

const MEMBERS = 10;
const VALUE = 160;
const TEXT = 400;

/**
 * @param {object} shown
 * @param {import("../hub.js").HubEvent} shown.event
 * @param {number} shown.time in milliseconds; NaN if it is not known
 * @param {string} shown.field of the data that the time is from; it is not shown twice
 * @param {string} [shown.log] the one log that all events are from; undefined: it says which one
 * @param {(type: string) => string} shown.colourOf the variable of a type's colour
 */
export function eventRow({ event, time, field, log, colourOf }) {
  const type = h("span.type", { title: event.type }, event.type || "—");
  type.style.setProperty("--tint", `var(${colourOf(event.type)})`);
  return h(
    "div.event-row",
    {},
    when(event, time),
    log === undefined && h("span.of", { title: event.stream }, event.stream),
    type,
    h("span.what", {}, ...preview(event, field, log)),
  );
}

function when(event, time) {
  const [day, clock] = (moment(time) || moment(event.time)).split(" ");
  const text = clock ? [day, h("span.clock", {}, ` ${clock}`)] : [day || event.id];
  return h("time", { title: iso(time) }, ...text);
}

// What stands beside it, or above the list, is not said again.
function preview(event, field, log) {
  const { json } = event;
  if (typeof json !== "object" || json === null || Array.isArray(json)) return [oneLine(event.data, TEXT)];
  const told = { type: event.type, stream: log };
  const members = Object.entries(json).filter(
    ([key, value]) => key !== field && !(Object.hasOwn(told, key) && value === told[key]),
  );
  return members
    .slice(0, MEMBERS)
    .flatMap(([key, value], at) => [at > 0 && " ", h("i", {}, key), ` ${text(value)}`]);
}

function text(value) {
  return oneLine(typeof value === "string" ? value : JSON.stringify(value), VALUE);
}

function oneLine(value, most) {
  return value.slice(0, most).replace(/\s+/g, " ");
}
