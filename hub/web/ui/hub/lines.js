/**
 * Bytes into lines, lines into events.
 *
 * A line ends at LF and nowhere else: data may hold U+2028 and its like.
 */

import { ChannelEvent } from "./event.js";

/** Cuts text that comes in pieces into whole lines. */
export class LineSplitter {
  #open = "";

  /**
   * @param {string} text the next piece
   * @returns {string[]} the lines that it completes, without their LF
   */
  push(text) {
    const lines = (this.#open + text).split("\n");
    this.#open = lines.pop();
    return lines;
  }
}

/**
 * Lines of a body, as they come: an array for each piece that completes some.
 * A last line without its LF is dropped: it is not whole.
 * @param {Response} response
 * @returns {AsyncGenerator<string[], void>}
 */
export async function* linesOf(response) {
  const splitter = new LineSplitter();
  for await (const text of textOf(response)) {
    const lines = splitter.push(text);
    if (lines.length) yield lines;
  }
}

/**
 * The text of a body, piece by piece. Whoever leaves the loop closes the connection.
 * @param {Response} response
 * @returns {AsyncGenerator<string, void>}
 */
export async function* textOf(response) {
  const reader = response.body.getReader();
  const decoder = new TextDecoder("utf-8", { ignoreBOM: true });
  try {
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return;
      yield decoder.decode(value, { stream: true });
    }
  } finally {
    await reader.cancel().catch(() => {});
  }
}

/**
 * The event of a TSV line: `id TAB event TAB data`, VT in data standing for a line break.
 * @param {string} line
 */
export function eventOfRow(line) {
  const first = line.indexOf("\t");
  const second = line.indexOf("\t", first + 1);
  const data = line.slice(second + 1);
  return new ChannelEvent(
    line.slice(0, first),
    line.slice(first + 1, second),
    data.includes("\v") ? data.replaceAll("\v", "\n") : data,
  );
}
