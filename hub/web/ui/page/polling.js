/**
 * Asking again and again, while somebody looks.
 */

/**
 * Calls a function now and then every so often, one call at a time; not while the page is hidden.
 * @param {number} every milliseconds between the end of a call and the next
 * @param {(signal: AbortSignal) => Promise<void>} call
 * @param {AbortSignal} signal ends it
 */
export async function poll(every, call, signal) {
  while (!signal.aborted) {
    if (document.hidden) {
      await seen(signal);
      continue;
    }
    try {
      await call(signal);
    } catch (error) {
      if (signal.aborted) return;
      console.warn(error);
    }
    await pause(every, signal);
  }
}

/** Waits; returns early if the signal is aborted. */
export function pause(milliseconds, signal) {
  return new Promise((resolve) => {
    const timer = setTimeout(resolve, milliseconds);
    signal?.addEventListener("abort", () => (clearTimeout(timer), resolve()), { once: true });
  });
}

function seen(signal) {
  return new Promise((resolve) => {
    document.addEventListener("visibilitychange", resolve, { once: true });
    signal.addEventListener("abort", resolve, { once: true });
  });
}
