/**
 * How programs get exactly what the page shows: lines to copy.
 */

import { Address } from "../hub/address.js";
import { h } from "./dom.js";

/** How many types are named in lines to copy. */
const MOST_TYPES = 20;

/**
 * The lines for a view.
 * @param {import("./source.js").Source} source
 * @param {string} origin
 * @param {string[]} types those of its events, as far as they are known
 * @returns {{title: string, text: string}[]}
 */
export function recipes(source, origin, types) {
  const { since, event } = source;
  const address = new Address(new URL(source.path + source.query, origin));
  const history = address.history({ since, event }).href;
  const live = address.history({ since: since ?? "start", event }).href;
  const found = [
    { title: "History", text: `curl ${quoted(history)}` },
    { title: "Follow it live", text: `curl -N -H 'Accept: text/event-stream' ${quoted(live)}` },
    { title: "In a browser", text: eventSource(live, event === undefined ? types : [event]) },
    { title: "In a browser, every type, with the hub's module", text: module(source, origin, since, event) },
  ];
  if (source.channel) {
    const post = `${origin}/${source.channel}?event=${encodeURIComponent(event ?? "type")}`;
    found.push({ title: "Post an event", text: `echo Some data | curl -d @- ${quoted(post)}` });
  } else if (!source.isMany) {
    const body = JSON.stringify({ events: [{ type: event ?? "Type" }] });
    found.push({
      title: "Commit an event",
      text: `curl -d ${quoted(body)} ${quoted(`${origin}${source.path}/commit`)}`,
    });
  }
  return found;
}

/** The lines as elements, each with a button that copies it. */
export function recipeList(source, origin, types) {
  return h("div.recipes", {}, ...recipes(source, origin, types).map(recipe));
}

/** A button that copies a text. */
export function copyButton(text) {
  const button = h("button.copy", { type: "button", onClick: copy }, "Copy");
  async function copy() {
    try {
      await navigator.clipboard.writeText(text);
      button.textContent = "Copied";
    } catch {
      button.textContent = "Not allowed";
    }
    setTimeout(() => (button.textContent = "Copy"), 1500);
  }
  return button;
}

function recipe({ title, text }) {
  return h(
    "figure.recipe",
    {},
    h("figcaption", {}, title, copyButton(text)),
    h("pre", { tabindex: "0" }, text),
  );
}

// `EventSource` gives only the types that are named, and those without one as "message".
function eventSource(url, types) {
  const names = types.slice(0, MOST_TYPES).map((each) => each || "message");
  const lines = [`const events = new EventSource(${JSON.stringify(url)});`];
  const tell = "(event) => console.log(event.lastEventId, event.data)";
  if (names.length > 1) {
    lines.push(`for (const type of ${JSON.stringify(names)})`);
    lines.push(`  events.addEventListener(type, ${tell});`);
  } else {
    lines.push(`events.addEventListener(${JSON.stringify(names[0] ?? "message")}, ${tell});`);
  }
  if (types.length > names.length) lines.push("// and for each other type that you want");
  return lines.join("\n");
}

function module(source, origin, since, event) {
  const options = { since, event };
  const told = JSON.stringify(options) === "{}" ? "" : `, ${JSON.stringify(options)}`;
  const name = JSON.stringify(source.path.slice(1) + source.query);
  return [
    `import { replay } from "${origin}/ui/hub.js";`,
    `for await (const event of replay(${name}${told})) {`,
    "  console.log(event.id, event.type, event.json ?? event.data);",
    "}",
  ].join("\n");
}

// Single quotes, as a shell takes them.
function quoted(text) {
  return `'${text.replaceAll("'", "'\\''")}'`;
}
