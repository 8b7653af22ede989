/**
 * What a URL of the page reads: a channel, a stream, or many streams together.
 *
 * The URL of the page is that of the data, its parameters are those of the API.
 */

import { isChannelName } from "./hub-api.js";

const OWN = ["since", "event", "tail"];

export class Source {
  /** @param {URL} url of the page */
  constructor(url) {
    this.page = url;
    const [, stream] = /^\/streams\/(.+?)\/*$/.exec(url.pathname) ?? [];
    /** Whether it is read under `/streams/`. */
    this.isStream = stream !== undefined;
    this.path = url.pathname.replace(/\/+$/, "");
    this.name = decode(stream ?? this.path.slice(1));
    /** Whether several streams are read together. */
    this.isMany = this.isStream && /^(_all$|join$|category\/)/.test(this.name);
    this.title = this.isMany ? titleOfMany(this.name, url.searchParams) : this.name;
    this.since = url.searchParams.get("since") || undefined;
    this.event = url.searchParams.get("event") ?? undefined;
  }

  /** What `hub.js` reads; type and beginning are told beside it. */
  get read() {
    return new URL(this.path + this.query, this.page);
  }

  /** The parameters that say what is read, not from where; with its `?`, or "". */
  get query() {
    const rest = new URLSearchParams(this.page.searchParams);
    for (const each of OWN) rest.delete(each);
    return rest.size ? `?${rest}` : "";
  }

  /** The channel that can be posted to; undefined if there is none. */
  get channel() {
    return !this.isMany && isChannelName(this.name) ? this.name : undefined;
  }

  /**
   * The same with other parameters.
   * @param {Record<string, string | undefined>} parameters undefined: without
   * @param {string} [hash]
   */
  with(parameters, hash = this.page.hash) {
    const url = new URL(this.page);
    for (const [name, value] of Object.entries(parameters)) {
      if (value === undefined) url.searchParams.delete(name);
      else url.searchParams.set(name, value);
    }
    url.hash = hash;
    return url;
  }
}

function titleOfMany(name, parameters) {
  if (name === "_all") return "All streams";
  if (name === "join")
    return (parameters.get("streams") ?? parameters.get("selector") ?? "").replaceAll(",", ", ");
  return `Category ${name.slice("category/".length)}`;
}

/** A part of a path as text; as it stands if it is no such part. */
export function decode(text) {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}
