/**
 * A line of the latest rates, in the height of a row.
 */

const SVG = "http://www.w3.org/2000/svg";
const WIDTH = 120;
const HEIGHT = 24;
const POINTS = 45;
const FLAT = `M0 ${HEIGHT - 2}H${WIDTH}`;

/** An empty one. */
export function sparkline() {
  const svg = document.createElementNS(SVG, "svg");
  svg.setAttribute("viewBox", `0 0 ${WIDTH} ${HEIGHT}`);
  svg.setAttribute("class", "spark");
  svg.setAttribute("aria-hidden", "true");
  svg.append(document.createElementNS(SVG, "path"));
  return svg;
}

/**
 * Draw rates, the newest at the right; each line has its own scale.
 * @param {SVGElement} svg
 * @param {number[]} rates
 */
export function drawSparkline(svg, rates) {
  const most = Math.max(...rates, 0);
  const step = WIDTH / (POINTS - 1);
  const left = WIDTH - (rates.length - 1) * step;
  const place = (each, at) =>
    `${(left + at * step).toFixed(1)} ${(HEIGHT - 2 - (most ? each / most : 0) * (HEIGHT - 4)).toFixed(1)}`;
  const path = most ? `M${rates.map(place).join("L")}` : FLAT;
  if (svg.firstChild.getAttribute("d") !== path) svg.firstChild.setAttribute("d", path);
  svg.dataset.quiet = most ? "" : "yes";
}
