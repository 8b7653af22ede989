/**
 * Where a reducer is typed, chosen, and run. What is typed is kept for each log in this browser.
 */

import { codeEditor } from "./code-editor.js";
import { h, select, setText } from "./dom.js";
import { EXAMPLES } from "./fold-examples.js";

const OWN = "Your own";

export class Editor {
  /**
   * @param {import("./source.js").Source} source
   * @param {() => void} onRun
   * @param {() => void} onStop
   */
  constructor(source, onRun, onStop) {
    this.key = `fold ${source.path}${source.query}`;
    this.source = source;
    this.running = false;
    this.onRun = () => {
      this.#keep();
      onRun();
    };
    const onChange = () => this.#typed();
    this.reducer = codeEditor({ label: "Reducer", value: "", least: 8, onRun: this.onRun, onChange });
    this.start = codeEditor({
      label: "State to begin with, as JSON",
      value: "{}",
      onRun: this.onRun,
      onChange,
    });
    this.examples = select(
      "Example",
      [[OWN, OWN], ...EXAMPLES.map(({ name }) => [name, name])],
      OWN,
      (name) => this.#choose(name),
    );
    this.run = h(
      "button.primary",
      { type: "button", onClick: () => (this.running ? onStop() : this.onRun()) },
      "Run",
    );
    this.told = h("p.told", { role: "alert" });
    this.element = h(
      "div.fold-editor",
      {},
      h("div.part-head", {}, h("h2", {}, "Reducer"), this.examples),
      this.reducer.field,
      h("label", {}, "State to begin with", this.start.field),
      h("div.send", {}, this.run, h("kbd", {}, "Ctrl Enter"), this.told),
      h(
        "p.hint",
        {},
        "Called with the state and each event, in order; returns the next state. An event has ",
        ...["id", "type", "data", "json", "time"].flatMap((each) => [h("code", {}, each), " "]),
        source.isStream && h("span", {}, "and ", h("code", {}, "stream"), " ", h("code", {}, "metadata")),
      ),
    );
  }

  get code() {
    return this.reducer.field.value;
  }

  /** The state to begin with. Throws if it is no JSON. */
  initial() {
    try {
      return JSON.parse(this.start.field.value);
    } catch (error) {
      throw new SyntaxError(`The state to begin with is no JSON: ${error.message}`);
    }
  }

  /** Begin with what was typed here last, or with an example that suits these events. */
  suggest(events) {
    const kept = JSON.parse(localStorage.getItem(this.key) ?? "null");
    if (kept) return this.#set(kept, EXAMPLES.find(({ code }) => code === kept.code)?.name ?? OWN);
    const isCode = events.some(({ json }) => json?.added !== undefined && json?.removed !== undefined);
    const name = !isCode
      ? "Count by type"
      : this.source.isMany
        ? "Lines of code, by stream"
        : "Lines of code (git log)";
    return this.#set(
      EXAMPLES.find((each) => each.name === name),
      name,
    );
  }

  /** Say what went wrong, or "". */
  tell(text, isError = false) {
    setText(this.told, text);
    this.told.dataset.state = isError ? "error" : "";
  }

  /** Whether it reads, or follows. */
  tellRunning(running) {
    this.running = running;
    setText(this.run, running ? "Stop" : "Run");
    this.run.classList.toggle("primary", !running);
  }

  #choose(name) {
    const example = EXAMPLES.find((each) => each.name === name);
    if (!example) return;
    this.#set(example, name);
    this.onRun();
  }

  #set({ code, initial }, name) {
    this.reducer.set(code);
    this.start.set(initial);
    this.examples.value = name;
  }

  #typed() {
    this.examples.value = OWN;
    this.tellRunning(false);
  }

  #keep() {
    localStorage.setItem(this.key, JSON.stringify({ code: this.code, initial: this.start.field.value }));
  }
}
