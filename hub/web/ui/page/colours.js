/**
 * Colours for a canvas, which knows nothing of the style's variables.
 */

/** Colours that tell types, and lines of a plot, apart; the last is for all others. */
export const SERIES = 8;

/**
 * What a variable of the style comes to, in light or dark.
 * @param {string} name "--text"
 */
export function colour(name) {
  const probe = document.createElement("i");
  probe.style.color = `var(${name})`;
  document.body.append(probe);
  const found = getComputedStyle(probe).color;
  probe.remove();
  return found;
}

/**
 * A colour for each of a few things, that it keeps for as long as it is among them.
 * @param {unknown[]} things at most SERIES; the last colour is for `rest`, if that is among them
 * @param {Map<unknown, number>} before
 * @param {unknown} rest
 * @returns {Map<unknown, number>} numbers of series
 */
export function assign(things, before, rest) {
  const most = things.includes(rest) ? SERIES - 1 : SERIES;
  const kept = things.filter((each) => each !== rest && before.get(each) < most);
  const found = new Map(kept.map((each) => [each, before.get(each)]));
  const taken = new Set(found.values());
  const free = Array.from({ length: most }, (_, at) => at).filter((at) => !taken.has(at));
  for (const each of things) if (!found.has(each)) found.set(each, each === rest ? SERIES - 1 : free.shift());
  return found;
}

/** The name of the variable of the n-th of several; from 0 on. */
export function seriesName(number) {
  return `--series-${Math.min(number, SERIES - 1)}`;
}
