/**
 * JSON that can be opened and closed, as text.
 */

import { h } from "./dom.js";

const OPEN_TO = 2;
const SHOWN = 200;
const LONG = 2000;

/**
 * @param {unknown} value what JSON can hold
 * @param {object} [how]
 * @param {Set<string>} [how.changed] paths of what has changed
 * @param {Map<string, boolean>} [how.opened] which paths somebody opened or closed; is kept up to date
 */
export function jsonTree(value, { changed = new Set(), opened = new Map() } = {}) {
  return h("div.json", {}, node(null, value, 0, "", { changed, opened }));
}

function node(key, value, depth, path, how) {
  const label = key === null ? [] : [h("span.key", {}, key), ": "];
  const changed = how.changed.has(path) ? ".is-new" : "";
  if (typeof value !== "object" || value === null) {
    return h(`div.leaf${changed}`, {}, ...label, leaf(value));
  }
  const isArray = Array.isArray(value);
  const entries = Object.entries(value);
  const size = isArray ? `[${entries.length}]` : `{${entries.length}}`;
  const body = h("div.members");
  const open = how.opened.get(path) ?? (depth < OPEN_TO && entries.length > 0);
  const details = h(
    "details",
    { open },
    h(`summary${changed}`, {}, ...label, h("span.size", {}, size)),
    body,
  );
  // What is closed costs nothing.
  let drawn = false;
  const draw = () => {
    if (drawn || !details.open) return;
    drawn = true;
    for (const [name, each] of entries.slice(0, SHOWN)) {
      body.append(node(name, each, depth + 1, `${path}/${name}`, how));
    }
    if (entries.length > SHOWN) body.append(h("div.leaf.more", {}, `… ${entries.length - SHOWN} more`));
  };
  details.addEventListener("toggle", () => {
    how.opened.set(path, details.open);
    draw();
  });
  draw();
  return details;
}

function leaf(value) {
  if (typeof value === "string") {
    const text = value.length > LONG ? `${value.slice(0, LONG)}… (${value.length} characters)` : value;
    return h("span.string", {}, text);
  }
  return h(`span.${value === null ? "null" : typeof value}`, {}, String(value));
}

/**
 * The paths at which two values differ, with those of what they are in.
 * @returns {Set<string>}
 */
export function changes(before, after) {
  const found = new Set();
  compare(before, after, "", found);
  return found;
}

function compare(before, after, path, found) {
  if (before === after) return false;
  const both = typeof before === "object" && typeof after === "object" && before !== null && after !== null;
  if (!both) {
    found.add(path);
    return true;
  }
  let differs = false;
  for (const key of Object.keys(after)) {
    if (compare(before[key], after[key], `${path}/${key}`, found)) differs = true;
  }
  return differs;
}
