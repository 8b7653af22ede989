/**
 * The slider through time: one step for each event.
 */

import { h, setText } from "./dom.js";
import { count as number, iso } from "./format.js";

const PLAYED_IN = 12_000;

export class Scrubber {
  #playing = 0;

  /** @param {(at: number) => void} onMove how many events count; 0 is before the first */
  constructor(onMove) {
    this.onMove = onMove;
    this.count = 0;
    this.slider = h("input", {
      type: "range",
      min: "0",
      max: "0",
      value: "0",
      step: "1",
      "aria-label": "Moment in the history",
      onInput: () => this.#moved(),
    });
    const button = (label, text, move) =>
      h("button.icon", { type: "button", "aria-label": label, title: label, onClick: move }, text);
    this.play = button("Play", "▶", () => this.#togglePlay());
    this.place = h("p.place", { "aria-live": "off" });
    this.element = h(
      "div.scrubber",
      {},
      h(
        "div.scrubber-line",
        {},
        this.play,
        button("To the start", "⇤", () => this.go(0)),
        button("One back", "←", () => this.go(this.at - 1)),
        this.slider,
        button("One on", "→", () => this.go(this.at + 1)),
        button("To the end, live", "⇥", () => this.go(this.count)),
      ),
      this.place,
    );
  }

  /** How many events count. */
  get at() {
    return Number(this.slider.value);
  }

  /** Whether it stands at the end, and goes with it. */
  get atEnd() {
    return this.at >= this.count;
  }

  clear() {
    this.#stop();
    this.grow(0);
    setText(this.place, " ");
  }

  /** There are so many events now. */
  grow(count) {
    const follows = this.atEnd && !this.#playing;
    this.count = count;
    this.slider.max = String(count);
    if (follows) this.slider.value = String(count);
  }

  /** Move to a place, of those that there are. */
  go(at) {
    this.slider.value = String(Math.min(this.count, Math.max(0, at)));
    this.#moved();
  }

  /** Say where it stands. */
  describe({ at, row }) {
    const time = row && !Number.isNaN(row[3]) ? ` · ${iso(row[3]).slice(0, 19)}` : "";
    const text = at === 0 ? "before the first event" : `event ${number(at)} of ${number(this.count)}${time}`;
    setText(this.place, text);
    this.slider.setAttribute("aria-valuetext", text);
  }

  close() {
    this.#stop();
  }

  #moved() {
    this.#stop();
    this.onMove(this.at);
  }

  #togglePlay() {
    if (this.#playing) return this.#stop();
    if (this.atEnd) this.slider.value = "0";
    const step = this.count / PLAYED_IN;
    let place = this.at;
    let before = performance.now();
    const frame = (now) => {
      place += step * (now - before);
      before = now;
      this.slider.value = String(Math.min(this.count, Math.round(place)));
      this.onMove(this.at);
      if (place < this.count) this.#playing = requestAnimationFrame(frame);
      else this.#stop();
    };
    this.#playing = requestAnimationFrame(frame);
    return this.#tellPlaying(true);
  }

  #stop() {
    cancelAnimationFrame(this.#playing);
    this.#playing = 0;
    this.#tellPlaying(false);
  }

  #tellPlaying(playing) {
    setText(this.play, playing ? "❚❚" : "▶");
    this.play.setAttribute("aria-label", playing ? "Stop" : "Play");
  }
}
