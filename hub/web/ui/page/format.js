/**
 * Numbers, sizes and times as people read them. All times are UTC, like the ids.
 */

const WHOLE = new Intl.NumberFormat("en");
const SHORT = new Intl.NumberFormat("en", { maximumSignificantDigits: 3 });
const UNITS = ["B", "kB", "MB", "GB", "TB"];
const DAY = 86_400;

/** 23,734 */
export function count(value) {
  return Number.isInteger(value) ? WHOLE.format(value) : SHORT.format(value);
}

/** 1 event, 2 events */
export function counted(value, noun) {
  return `${count(value)} ${noun}${value === 1 ? "" : "s"}`;
}

/** 5.4 MB */
export function size(bytes) {
  let unit = 0;
  while (bytes >= 1000 && unit < UNITS.length - 1) {
    bytes /= 1000;
    unit += 1;
  }
  return `${unit && bytes < 100 ? SHORT.format(bytes) : Math.round(bytes)} ${UNITS[unit]}`;
}

/** 3 s, 5 min, 2 h, 40 d: how long ago a time in milliseconds is. */
export function age(time, now = Date.now()) {
  const seconds = Math.max(0, (now - time) / 1000);
  if (seconds < 60) return `${Math.floor(seconds)} s`;
  if (seconds < 3600) return `${Math.floor(seconds / 60)} min`;
  if (seconds < DAY) return `${Math.floor(seconds / 3600)} h`;
  if (seconds < 1000 * DAY) return `${Math.floor(seconds / DAY)} d`;
  return `${Math.floor(seconds / (365.25 * DAY))} y`;
}

/** 2026-11-20 11:40:10.793; of today only the hours. */
export function moment(time, now = Date.now()) {
  if (Number.isNaN(time)) return "";
  const text = iso(time);
  const [day, clock] = text.split(" ");
  return iso(now).startsWith(day) ? clock : text.slice(0, 19);
}

/** 2026-11-20 11:40:10.793 */
export function iso(time) {
  const date = new Date(time);
  return Number.isNaN(date.getTime()) ? "" : date.toISOString().replace("T", " ").replace("Z", "");
}

/** 0.5/s, 120/s; "" for none. */
export function rate(perSecond) {
  return perSecond ? `${SHORT.format(perSecond)}/s` : "";
}

/** 12 %, and never 0 or 100 of what is not quite that. */
export function share(part, whole) {
  const percent = (100 * part) / whole;
  if (percent < 1) return "< 1 %";
  if (percent > 99 && part < whole) return "> 99 %";
  return `${Math.round(percent)} %`;
}
