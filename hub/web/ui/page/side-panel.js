/**
 * What stands beside the events: one of them in full, the lines to copy, the form to post.
 */

import { fill, h } from "./dom.js";

export class SidePanel {
  /** @param {() => void} onClose */
  constructor(onClose) {
    this.onClose = onClose;
    this.kind = "";
    this.title = h("h2");
    this.body = h("div.panel-body");
    const close = h(
      "button.icon",
      { type: "button", "aria-label": "Close", title: "Close (Esc)", onClick: () => this.close() },
      "×",
    );
    this.element = h(
      "aside.panel",
      { hidden: true, "aria-label": "Details" },
      h("header", {}, this.title, close),
      this.body,
    );
  }

  /**
   * @param {string} kind what it is, so that the same is not opened twice
   * @param {string} title
   * @param {...Node} content
   */
  show(kind, title, ...content) {
    this.kind = kind;
    this.title.textContent = title;
    fill(this.body, ...content);
    this.body.scrollTop = 0;
    this.element.hidden = false;
    this.body.querySelector("[data-focus]")?.focus();
  }

  close() {
    if (this.element.hidden) return;
    this.kind = "";
    this.element.hidden = true;
    this.onClose();
  }
}
