/**
 * A field for a few lines of code.
 */

import { h } from "./dom.js";

/**
 * @param {object} options
 * @param {string} options.label
 * @param {string} options.value
 * @param {number} [options.least] lines that it is high at least
 * @param {() => void} options.onRun Ctrl+Enter
 * @param {() => void} [options.onChange]
 */
export function codeEditor({ label, value, least = 1, onRun, onChange = () => {} }) {
  let isEdited = false; // since it has the focus
  const field = h("textarea.code", {
    "aria-label": label,
    value,
    spellcheck: "false",
    autocapitalize: "off",
    autocomplete: "off",
    wrap: "off",
    onFocus: () => (isEdited = false),
    onClick: () => (isEdited = true), // which comes behind the focus
    onInput: () => ((isEdited = true), fit(), onChange()),
    onKeydown: press,
  });
  fit();
  return { field, set };

  function set(text) {
    field.value = text;
    fit();
  }

  function fit() {
    field.rows = Math.max(least, field.value.split("\n").length);
  }

  // Tab indents for who types here, and goes on for who only comes by; Escape leaves the field.
  function press(event) {
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) {
      event.preventDefault();
      onRun();
    } else if (event.key === "Tab" && isEdited && !event.shiftKey && !event.altKey) {
      event.preventDefault();
      field.setRangeText("  ", field.selectionStart, field.selectionEnd, "end");
      onChange();
    }
  }
}
