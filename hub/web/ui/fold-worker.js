/**
 * Folds events by a reducer that somebody typed, and goes back and forth in time.
 *
 * The only place where text becomes code. It runs in a worker that the hub's answer
 * (`Content-Security-Policy`) cuts off from the network, so it imports nothing and is fed
 * by messages: `{id, task, ...}` is answered by `{id, result}` or `{id, error}`. Tasks:
 *
 * - `begin` `{code, initial}`: compile
 * - `push` `{rows}`: fold `[id, type, data, time, stream, metadata]`, each an event
 * - `state` `{at}`: the state after the first `at` events, and the last of these
 * - `series` `{path, most}`: numbers of the state, at each snapshot
 * - `plottable`: paths of the state at which there are numbers
 */

const MOST_SNAPSHOTS = 600;
const FEWEST_SNAPSHOTS = 16;
const MOST_WEIGHT = 96_000_000;
const MOST_TEXT = 400_000_000;
const DEPTH = 3;

let fold;

/** One event, as a reducer sees it; like that of `hub.js`. */
class Event {
  #json;
  #parsed = false;

  constructor([id, type, data, time, stream, metadata]) {
    Object.assign(this, { id, type, data, time });
    if (stream !== undefined) Object.assign(this, { stream, metadata });
  }

  get json() {
    if (!this.#parsed) {
      this.#parsed = true;
      try {
        this.#json = JSON.parse(this.data);
      } catch {
        this.#json = undefined;
      }
    }
    return this.#json;
  }
}

/**
 * The states of a history, each soon found: a snapshot is kept every so many events, and what is
 * between them is folded again. With more events the snapshots become sparser.
 */
class Fold {
  constructor(code, initial) {
    this.reducer = compile(code);
    this.initial = initial;
    this.state = structuredClone(initial);
    this.rows = [];
    this.text = 0;
    this.every = 1;
    this.snapshots = [structuredClone(initial)];
    this.weights = [0];
    this.times = [NaN];
  }

  get count() {
    return this.rows.length;
  }

  push(rows) {
    for (const row of rows) {
      this.state = this.#step(this.state, row, this.count);
      this.text += row[2].length;
      if (this.text > MOST_TEXT)
        throw new Error("This history is too long to go back and forth in: 400 MB are the most");
      this.rows.push(row);
      if (this.count % this.every === 0) this.#keep(row[3]);
    }
  }

  /** The state after the first `at` events. */
  stateAt(at) {
    if (at >= this.count) return this.state;
    const nearest = Math.floor(at / this.every);
    let state = structuredClone(this.snapshots[nearest]);
    for (let next = nearest * this.every; next < at; next += 1)
      state = this.#step(state, this.rows[next], next);
    return state;
  }

  #step(state, row, number) {
    try {
      return this.reducer(state, new Event(row));
    } catch (error) {
      throw new Error(`At event ${number + 1}: ${error?.message ?? error}`);
    }
  }

  #keep(time) {
    this.snapshots.push(structuredClone(this.state));
    this.weights.push(textOf(this.state)?.length ?? 0);
    this.times.push(time);
    while (this.#isTooMuch()) {
      this.every *= 2;
      for (const name of ["snapshots", "weights", "times"])
        this[name] = this[name].filter((_, at) => at % 2 === 0);
    }
  }

  #isTooMuch() {
    const { length } = this.snapshots;
    const weight = this.weights.reduce((sum, each) => sum + each, 0);
    return length > MOST_SNAPSHOTS || (length > FEWEST_SNAPSHOTS && weight > MOST_WEIGHT);
  }

  /** Where the numbers are: paths, `*` standing for all members. */
  plottable() {
    const found = [];
    if (typeof this.state === "number") found.push([]);
    else visit(plain(this.state), [], found);
    return found.slice(0, 60);
  }

  /** The numbers at a path, over time: the lines that end highest. */
  series(path, most) {
    const states = [...this.snapshots];
    const marks = states.map((_, at) => at * this.every);
    const times = [...this.times];
    if (marks.at(-1) !== this.count) {
      states.push(this.state);
      marks.push(this.count);
      times.push(this.rows.at(-1)[3]);
    }
    const values = states.map((state) => new Map(numbersAt(plain(state), path, "")));
    const last = [...values.at(-1)].sort((a, b) => Math.abs(b[1]) - Math.abs(a[1]));
    const names = last.slice(0, most).map(([name]) => name);
    return {
      marks,
      times,
      names,
      lines: names.map((name) => values.map((each) => each.get(name) ?? null)),
      hidden: last.length - names.length,
    };
  }
}

function compile(code) {
  const reducer = new Function(`"use strict"; return (${code.trim().replace(/;$/, "")}\n)`)();
  if (typeof reducer !== "function")
    throw new TypeError("This is no function: (state, event) => the next state");
  return reducer;
}

// Maps and sets are shown as objects and arrays.
function textOf(value) {
  return JSON.stringify(value, (_, each) => {
    if (each instanceof Map) return Object.fromEntries(each);
    if (each instanceof Set) return [...each];
    return typeof each === "bigint" ? Number(each) : each;
  });
}

function plain(state) {
  return state instanceof Map ? Object.fromEntries(state) : state;
}

function isObject(value) {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function visit(value, path, found) {
  if (!isObject(value)) return;
  const members = Object.entries(value);
  const numbers = members.filter(([, each]) => typeof each === "number");
  if (numbers.length > 1) found.push([...path, "*"]);
  for (const [key] of numbers.slice(0, 20)) found.push([...path, key]);
  const objects = members.filter(([, each]) => isObject(each));
  if (objects.length > 1) {
    const keys = new Set(
      objects.flatMap(([, each]) => Object.keys(each).filter((key) => typeof each[key] === "number")),
    );
    if (keys.size < 20) for (const key of keys) found.push([...path, "*", key]);
  }
  if (path.length < DEPTH && objects.length <= 20) {
    for (const [key, each] of objects) visit(each, [...path, key], found);
  }
}

function numbersAt(value, [key, ...rest], name) {
  if (key === undefined) return typeof value === "number" && Number.isFinite(value) ? [[name, value]] : [];
  if (!isObject(value)) return [];
  if (key !== "*") return numbersAt(value[key], rest, name || key);
  return Object.entries(value).flatMap(([each, member]) => numbersAt(member, rest, each));
}

const TASKS = {
  begin({ code, initial }) {
    fold = new Fold(code, initial);
  },
  push({ rows }) {
    fold.push(rows);
    return { count: fold.count };
  },
  state({ at }) {
    const place = Math.min(at, fold.count);
    const text = textOf(fold.stateAt(place));
    return { at: place, count: fold.count, text, row: fold.rows[place - 1] };
  },
  series: ({ path, most }) => fold.series(path, most),
  plottable: () => fold.plottable(),
};

onmessage = ({ data: { id, task, ...rest } }) => {
  try {
    postMessage({ id, result: TASKS[task](rest) });
  } catch (error) {
    postMessage({ id, error: String(error?.message ?? error) });
  }
};
