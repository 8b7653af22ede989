/**
 * Elements. Whatever an event holds becomes text here, never HTML.
 */

/**
 * An element.
 * @param {string} tag with classes: "div.row.is-new"
 * @param {Record<string, unknown>} [properties] `on…` listens; `data`, an object, goes to the dataset;
 *   others are attributes, left out if they are false, null or undefined
 * @param {...(Node | string | number | null | undefined | false)} children
 * @returns {HTMLElement}
 */
export function h(tag, properties = {}, ...children) {
  const [name, ...classes] = tag.split(".");
  const element = document.createElement(name);
  if (classes.length) element.className = classes.join(" ");
  for (const [key, value] of Object.entries(properties)) {
    if (value === false || value === null || value === undefined) continue;
    if (key.startsWith("on")) element.addEventListener(key.slice(2).toLowerCase(), value);
    else if (key === "data") Object.assign(element.dataset, value);
    else if (key === "value") element.value = value;
    else element.setAttribute(key, value === true ? "" : String(value));
  }
  element.append(...present(children));
  return element;
}

/**
 * Put these in the place of what an element holds.
 * @param {Element} element
 * @param {...(Node | string | null | undefined | false)} children
 */
export function fill(element, ...children) {
  element.replaceChildren(...present(children));
}

/** A text that changes only if it must: a screen reader, and the layout, notice each change. */
export function setText(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

/** Calls a function at most once for each frame that is drawn. */
export function onceAFrame(draw) {
  let asked = 0;
  return () => {
    asked ||= requestAnimationFrame(() => {
      asked = 0;
      draw();
    });
  };
}

/**
 * A choice of one of several.
 * @param {string} label for who does not see it
 * @param {[value: string, text: string][]} options
 * @param {string} chosen
 * @param {(value: string) => void} onChoice
 */
export function select(label, options, chosen, onChoice) {
  const all = options.map(([value, text]) => h("option", { value, selected: value === chosen }, text));
  return h("select", { "aria-label": label, onChange: (event) => onChoice(event.target.value) }, ...all);
}

function present(children) {
  return children
    .filter((each) => each !== null && each !== undefined && each !== false)
    .map((each) => (typeof each === "number" ? String(each) : each));
}
