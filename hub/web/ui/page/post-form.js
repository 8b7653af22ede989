/**
 * Writing an event by hand: a post to a channel, or a commit to a stream.
 */

import { HubError, publish } from "../hub.js";
import { h } from "./dom.js";
import { commit } from "./hub-api.js";

/**
 * @param {import("./source.js").Source} source of one log
 * @param {Iterable<string>} types that it has, as suggestions
 */
export function postForm(source, types) {
  const type = h("input", {
    name: "type",
    list: "types",
    autocomplete: "off",
    spellcheck: "false",
    value: source.event ?? "",
  });
  const data = h("textarea", { name: "data", rows: "8", spellcheck: "false", data: { focus: "" } });
  const told = h("p.told", { role: "status" });
  const button = h("button.primary", { type: "submit" }, source.channel ? "Post" : "Commit");
  const form = h(
    "form.post",
    { onSubmit: send, onKeydown: press },
    h("label", {}, "Type", type),
    h("datalist", { id: "types" }, ...[...types].map((each) => h("option", { value: each }))),
    h("label", {}, source.channel ? "Data: text or JSON" : "Payload: a JSON object", data),
    h("div.send", {}, button, h("kbd", {}, "Ctrl Enter"), told),
  );
  return form;

  async function send(event) {
    event.preventDefault();
    button.disabled = true;
    told.dataset.state = "";
    try {
      told.textContent = `Stored: ${await write(source, type.value, data.value)}`;
    } catch (error) {
      told.dataset.state = "error";
      told.textContent =
        error instanceof HubError || error instanceof SyntaxError ? error.message : "The hub does not answer";
    }
    button.disabled = false;
  }

  function press(event) {
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) form.requestSubmit();
  }
}

async function write(source, type, data) {
  if (source.channel) return publish(source.channel, data, { event: type || undefined });
  const payload = data.trim() ? JSON.parse(data) : {};
  if (type) payload.type = type;
  const { version } = await commit(source.name, [payload]);
  return `version ${version}`;
}
