/**
 * One event in full.
 */

import { h } from "./dom.js";
import { iso, size } from "./format.js";
import { pathOf } from "./hub-api.js";
import { jsonTree } from "./json-tree.js";
import { copyButton } from "./recipes.js";

const TEXT = 100_000;

/** @param {import("../hub.js").HubEvent} event */
export function eventDetails(event) {
  const isJson = event.json !== undefined;
  const { metadata, stream } = event;
  return [
    h(
      "dl.facts",
      {},
      ...fact("Id", metadata?.id ?? event.id),
      ...(metadata && event.id ? fact("Number", event.id) : []),
      ...fact("Type", event.type || "none"),
      ...(stream ? [h("dt", {}, "Stream"), h("dd", {}, h("a", { href: pathOf(stream) }, stream))] : []),
      ...(Number.isNaN(event.time) ? [] : fact("Stored", `${iso(event.time)} UTC`)),
      ...fact("Size", size(new Blob([event.data]).size)),
    ),
    h("div.part-head", {}, h("h3", {}, isJson ? "Data, as JSON" : "Data"), copyButton(event.data)),
    isJson ? jsonTree(event.json) : h("pre.text", {}, event.data.slice(0, TEXT)),
    ...(metadata ? [h("div.part-head", {}, h("h3", {}, "Metadata")), jsonTree(metadata)] : []),
  ];
}

function fact(name, value) {
  return [h("dt", {}, name), h("dd", {}, value)];
}
