/**
 * Requests to the hub: their errors, and how long to wait before another try.
 */

/** What the hub answered instead of what was asked for. */
export class HubError extends Error {
  /**
   * @param {number} status of HTTP
   * @param {string} code one of those in the HTTP reference, as "unknown_id"
   * @param {string} message a sentence
   * @param {object} answer all that the hub said
   */
  constructor(status, code, message, answer) {
    super(message);
    this.name = "HubError";
    this.status = status;
    this.code = code;
    this.answer = answer;
  }

  /** Whether the same request may do better later. */
  get passes() {
    return this.status >= 500 || this.status === 429 || this.status === 408;
  }
}

/**
 * A request that the hub took.
 * @param {string | URL} url
 * @param {RequestInit} init
 * @returns {Promise<Response>}
 * @throws {HubError} if it did not; `TypeError` if it cannot be reached
 */
export async function request(url, init) {
  const response = await fetch(url, { cache: "no-store", ...init });
  if (response.ok) return response;
  const text = await response.text();
  let answer;
  try {
    answer = JSON.parse(text);
  } catch {
    answer = { error: text.slice(0, 200) || response.statusText, code: "unknown" };
  }
  throw new HubError(response.status, answer.code, answer.error, answer);
}

/** Whether to try again: the hub could not be reached, broke off, or is busy. */
export function passes(error, signal) {
  if (signal.aborted) return false;
  return error instanceof HubError ? error.passes : error instanceof TypeError;
}

/** Waits between tries: doubled each time, jittered, so that a thousand pages do not come at once. */
export class Backoff {
  #tries = 0;

  /** The last try went well. */
  clear() {
    this.#tries = 0;
  }

  /**
   * Wait before the next try.
   * @param {number} base milliseconds before the first one
   * @param {AbortSignal} signal
   */
  async wait(base, signal) {
    const most = Math.min(base * 2 ** this.#tries, Math.max(base, 15_000));
    this.#tries += 1;
    await pause(most * (0.5 + Math.random() / 2), signal);
  }
}

function pause(milliseconds, signal) {
  return new Promise((resolve, reject) => {
    const end = () => {
      clearTimeout(timer);
      reject(signal.reason);
    };
    const timer = setTimeout(() => {
      signal.removeEventListener("abort", end);
      resolve();
    }, milliseconds);
    if (signal.aborted) end();
    else signal.addEventListener("abort", end, { once: true });
  });
}
