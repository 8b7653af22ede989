/**
 * A list of any length, of which only the rows exist that can be seen.
 *
 * Rows have numbers that stay when others are added before or dropped: `first` to `end`
 * (exclusive). All are of one height, so nothing moves when one is drawn.
 */

import { h, onceAFrame } from "./dom.js";

const BEYOND = 8;

export class VirtualList {
  #rows = new Map();
  #following;
  #jumped = false;

  /**
   * @param {object} options
   * @param {string} options.label
   * @param {(number: number, row: HTMLElement | undefined) => HTMLElement} options.draw a row, new or again
   * @param {(number: number | null) => void} [options.onSelect] null: none
   * @param {(number: number) => void} [options.onOpen] Enter, or a second click
   * @param {() => void} [options.onScroll]
   * @param {boolean} [options.follows] whether the end stays in view as rows are added
   */
  constructor({ label, draw, onSelect = () => {}, onOpen = () => {}, onScroll = () => {}, follows = false }) {
    Object.assign(this, { draw, onSelect, onOpen, onScroll });
    this.first = 0;
    this.end = 0;
    this.selected = null;
    this.follows = follows;
    this.#following = follows;
    this.spacer = h("div.virtual-space", { role: "presentation" });
    this.element = h(
      "div.virtual",
      { role: "listbox", tabindex: "0", "aria-label": label, onKeydown: (event) => this.#press(event) },
      this.spacer,
    );
    this.refresh = onceAFrame(() => this.#refresh());
    this.element.addEventListener("scroll", () => this.#scrolled(), { passive: true });
    this.element.addEventListener("click", (event) => this.#click(event));
    this.observer = new ResizeObserver(() => this.#resized());
    this.observer.observe(this.element);
  }

  /** Height of a row in pixels; the style says it. */
  get height() {
    return (this.known ??= parseFloat(getComputedStyle(this.element).getPropertyValue("--row"))) || 32;
  }

  /** Whether the end is in view, and stays there. */
  get following() {
    return this.#following;
  }

  /** The number of the first row in view. */
  get top() {
    return this.first + Math.floor(this.element.scrollTop / this.height);
  }

  /** The number behind the last row in view. */
  get bottom() {
    return Math.min(this.end, this.top + Math.ceil(this.element.clientHeight / this.height) + 1);
  }

  /** There are these rows now. What is in view stays where it is. */
  update(first, end) {
    const moved = first - this.first;
    this.first = first;
    this.end = end;
    if (moved && !this.#following) {
      this.#place();
      this.element.scrollTop -= moved * this.height;
    }
    this.refresh();
  }

  /** Draw every row again: what they show has changed. */
  redraw() {
    for (const [number, row] of this.#rows) this.draw(number, row);
    this.refresh();
  }

  /** Forget all rows, as another list begins. */
  clear() {
    for (const row of this.#rows.values()) row.remove();
    this.#rows.clear();
    this.first = this.end = 0;
    this.selected = null;
    this.#following = this.follows;
    this.element.scrollTop = 0;
    this.refresh();
  }

  /** Go to the end and stay there. */
  follow() {
    this.#following = true;
    this.refresh();
  }

  /** Stay where it is, whatever is added. */
  hold() {
    this.#following = false;
  }

  /** Bring a row into view. */
  show(number, centred = false) {
    this.#following = false;
    this.#place();
    const place = (number - this.first) * this.height;
    const space = this.element.clientHeight;
    const top = this.element.scrollTop;
    if (centred) this.element.scrollTop = place - space / 2;
    else if (place < top) this.element.scrollTop = place;
    else if (place + this.height > top + space) this.element.scrollTop = place + this.height - space;
    this.refresh();
  }

  /** Select a row; null for none. */
  select(number) {
    this.#mark(this.selected, false);
    this.selected = number;
    this.#mark(number, true);
    this.onSelect(number);
  }

  close() {
    this.observer.disconnect();
  }

  #refresh() {
    this.#place();
    if (this.#following) {
      const before = this.element.scrollTop;
      this.element.scrollTop = this.element.scrollHeight;
      if (this.element.scrollTop !== before) this.#jumped = true; // else no event tells of it
    }
    const from = Math.max(this.first, this.top - BEYOND);
    const to = Math.min(this.end, this.bottom + BEYOND);
    for (const [number, row] of this.#rows) {
      if (number < from || number >= to) {
        row.remove();
        this.#rows.delete(number);
      }
    }
    for (let number = from; number < to; number += 1) {
      let row = this.#rows.get(number);
      if (!row) {
        row = this.draw(number, undefined);
        row.id = `row-${number}`;
        row.dataset.number = number;
        row.setAttribute("role", "option");
        row.setAttribute("aria-selected", String(number === this.selected));
        this.#rows.set(number, row);
        this.spacer.append(row);
      }
      row.style.transform = `translateY(${(number - this.first) * this.height}px)`;
    }
  }

  #place() {
    this.spacer.style.height = `${(this.end - this.first) * this.height}px`;
  }

  #scrolled() {
    const { scrollTop, clientHeight, scrollHeight } = this.element;
    const atEnd = scrollTop + clientHeight >= scrollHeight - this.height / 2;
    // A jump to the end tells nothing of what the reader wants.
    if (this.follows && !this.#jumped) this.#following = atEnd;
    this.#jumped = false;
    this.refresh();
    this.onScroll();
  }

  #resized() {
    this.known = undefined;
    this.refresh();
  }

  #isThere(number) {
    return number !== null && number >= this.first && number < this.end;
  }

  #mark(number, selected) {
    const row = this.#rows.get(number);
    row?.setAttribute("aria-selected", String(selected));
    if (selected && number !== null) this.element.setAttribute("aria-activedescendant", `row-${number}`);
    else this.element.removeAttribute("aria-activedescendant");
  }

  #click(event) {
    const row = event.target.closest("[role=option]");
    if (row) this.select(Number(row.dataset.number));
  }

  #press(event) {
    if (event.ctrlKey || event.metaKey || event.altKey || this.end === this.first) return;
    const page = Math.max(1, Math.floor(this.element.clientHeight / this.height) - 1);
    const at = this.#isThere(this.selected) ? this.selected : null;
    const moves = {
      ArrowDown: () => (at === null ? this.top : at + 1),
      ArrowUp: () => (at === null ? this.bottom - 1 : at - 1),
      PageDown: () => (at ?? this.top) + page,
      PageUp: () => (at ?? this.top) - page,
      Home: () => this.first,
      End: () => this.end - 1,
    };
    const move = moves[event.key];
    if (move) {
      const number = Math.min(this.end - 1, Math.max(this.first, move()));
      this.show(number);
      this.select(number);
    } else if (event.key === "Enter" && at !== null) {
      this.onOpen(at);
    } else {
      return;
    }
    event.preventDefault();
  }
}
