// The part of a sandbox that is JavaScript: it holds one handler and its state.
//
// It is evaluated once, before the handler, and keeps its own references to what it
// needs, so that a handler that changes JSON or Array harms nobody but itself. Hence
// no spreading here either: it asks Array.prototype.
// The value of this script is a function `(operation, one, two)` for `hub.consumers.sandbox`.
"use strict";
(() => {
  const { parse, stringify } = JSON;
  const { apply } = Reflect;
  const { isFinite } = Number;
  const { indexOf, slice } = String.prototype;
  const sourceOf = Function.prototype.toString;
  const kindOf = Object.prototype.toString;
  const evaluate = eval; // called by another name it sees globals only
  const text = String;

  // The same events must give the same state whenever they are folded.
  const Unfit = TypeError;
  const refuse = (what) => {
    throw new Unfit(what);
  };
  const noClock = () => refuse("there is no clock here: a time has to come with the event");
  const clockless = new Proxy(Date, {
    apply: noClock,
    construct: (target, given, made) =>
      given.length ? Reflect.construct(target, given, made) : noClock(),
  });
  Date.now = noClock;
  Date.prototype.constructor = clockless;
  globalThis.Date = clockless;
  Math.random = () => refuse("there is no chance here: a number has to come with the event");
  // These tell the time, or when memory is short, or wait for what never comes.
  for (const name of [
    "performance", "WeakRef", "FinalizationRegistry", "queueMicrotask", "Atomics",
    "SharedArrayBuffer",
  ]) {
    delete globalThis[name];
  }

  // What JSON would silently turn into something else cannot be kept as state.
  let keeping = false;
  const forbid = (prototype, name, otherwise = (value) => value) => {
    Object.defineProperty(prototype, "toJSON", {
      configurable: true,
      writable: true,
      value() {
        return keeping ? refuse(`the state holds a ${name}, which JSON cannot`) : otherwise(this);
      },
    });
  };
  const { toISOString } = Date.prototype;
  forbid(Date.prototype, "Date", (date) =>
    isFinite(+date) ? apply(toISOString, date, []) : null,
  );
  forbid(Function.prototype, "function");
  forbid(BigInt.prototype, "BigInt", () => refuse("JSON cannot hold a BigInt"));
  for (const type of [
    Map, Set, WeakMap, WeakSet, RegExp, Promise, Error, ArrayBuffer, DataView,
    Object.getPrototypeOf(Int8Array),
  ]) {
    forbid(type.prototype, type.name);
  }

  const { isArray } = Array;
  function checked(key, value) {
    if (typeof value === "number" && !isFinite(value)) {
      refuse(`the state holds ${value}, as ${stringify(key)}, which JSON cannot`);
    }
    if (isArray(this) && (value === undefined || typeof value === "symbol")) {
      refuse("the state holds an array with something undefined, which JSON cannot");
    }
    return value;
  }

  const written = (value) => {
    keeping = true;
    try {
      const json = stringify(value);
      if (json === undefined) refuse(`the state is a ${typeof value}, which JSON cannot hold`);
      // Only null can hide a number that is none: the slow look is for states that hold one.
      return apply(indexOf, json, ["null"]) < 0 ? json : stringify(value, checked);
    } finally {
      keeping = false;
    }
  };

  let handler;
  let state;
  let at = 0; // events of the batch that have been folded
  let thrown = false; // by the handler, rather than by what is around it
  let whole = true; // whether events come with their metadata

  const keep = () => {
    const json = written(state);
    state = parse(json); // so that nothing lasts but what is kept
    return json;
  };

  const fold = (batch) => {
    at = 0;
    thrown = false;
    const events = parse(batch);
    const { length } = events;
    for (; at < length; at++) {
      const event = events[at];
      let metadata;
      if (whole) {
        metadata = event.metadata;
        if (metadata.stream === undefined) metadata.stream = event.stream;
      }
      thrown = true;
      const next = handler(whole ? event.payload : event, state, metadata);
      thrown = false;
      if (next !== undefined) state = next;
      events[at] = undefined; // its memory can be had again
    }
    return keep();
  };

  const load = (source, json) => {
    handler = evaluate(`"use strict";(${source}\n)`);
    if (typeof handler !== "function") refuse("the handler is not a function");
    const kind = apply(kindOf, handler, []);
    if (kind !== "[object Function]") refuse("the handler must be neither async nor a generator");
    state = parse(json);
    return keep();
  };

  const Thrown = Error;
  const described = (error) => {
    try {
      const where = error instanceof Thrown ? text(error.stack) : "";
      return stringify([text(error), where]);
    } catch {
      return '["it threw what cannot be told",""]';
    }
  };

  let last; // what was caught
  const guarded = (act, one, two) => {
    try {
      return act(one, two);
    } catch (error) {
      last = error;
      return null;
    }
  };
  const operations = {
    load: (source, json) => guarded(load, source, json),
    fold: (batch) => guarded(fold, batch),
    source: (length) => apply(slice, apply(sourceOf, handler, []), [0, length]),
    whole: (wanted) => {
      whole = wanted;
    },
    at: () => at,
    thrown: () => thrown,
    described: () => described(last),
  };
  Object.preventExtensions(globalThis); // what does not lie in the state would be lost
  return (operation, one, two) => operations[operation](one, two);
})();
