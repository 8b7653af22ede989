/**
 * Choosing the time that reading begins at.
 */

import { h } from "./dom.js";

/**
 * @param {import("./source.js").Source} source
 * @param {boolean} chosen whether the view begins at a time now
 * @param {(url: URL) => void} navigate
 */
export function timeForm(source, chosen, navigate) {
  const value = chosen ? source.since : "";
  const field = h("input", {
    name: "since",
    value,
    placeholder: source.isStream ? "after number…" : "after 2026-11-20T11:40Z, or id…",
    "aria-label": source.isStream ? "After this number" : "After this time (UTC), or id",
    autocomplete: "off",
    spellcheck: "false",
  });
  return h(
    "form.time-form",
    {
      "aria-current": chosen && "true",
      onSubmit: (event) => {
        event.preventDefault();
        navigate(source.with({ since: field.value.trim() || undefined }));
      },
    },
    field,
  );
}
