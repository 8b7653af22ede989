/**
 * The page: which view is at which URL, and what is around it.
 *
 * A view is a function that takes a `Place` and returns `{element, title, close}`. Its
 * URL is that of the data: what programs get at the same place.
 */

import { fill, setText } from "./dom.js";
import { count, size } from "./format.js";
import { health } from "./hub-api.js";
import { openConsumers } from "./consumers-view.js";
import { openFold } from "./fold-view.js";
import { openList } from "./list-view.js";
import { openLog } from "./log-view.js";
import { poll } from "./polling.js";

const HEALTH_EVERY = 5000;

const main = document.querySelector("#view");
const healthLine = document.querySelector(".health");
let view = { close() {} };
let shown = "";

/** Which view a URL shows, and what opens it. */
function viewAt({ pathname, hash }) {
  const path = pathname.replace(/\/+$/, "");
  if (path === "" || path === "/streams" || path === "/ui/index.html") return ["list", openList];
  if (/^\/consumers(\/|$)/.test(path)) return ["consumers", openConsumers];
  return hash.startsWith("#fold") ? ["log", openFold] : ["log", openLog];
}

function show() {
  shown = location.href;
  const [name, open] = viewAt(location);
  view.close();
  view = open({ url: new URL(location.href), navigate });
  document.title = view.title ? `${view.title} · hub` : "Event hub";
  fill(main, view.element);
  main.dataset.view = name;
  for (const link of document.querySelectorAll(".bar nav a")) {
    if (link.dataset.view === name) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
  (main.querySelector("[data-focus]") ?? main).focus({ preventScroll: true });
}

/**
 * Go to another URL of the page.
 * @param {string | URL} url
 * @param {{replace?: boolean, silent?: boolean}} [how] `silent`: the view shows it already
 */
function navigate(url, { replace = false, silent = false } = {}) {
  history[replace ? "replaceState" : "pushState"](null, "", url);
  shown = location.href;
  if (!silent) show();
}

function follow(event) {
  const link = event.target.closest?.("a[href]");
  const plain = event.button === 0 && !(event.ctrlKey || event.metaKey || event.shiftKey || event.altKey);
  if (!link || !plain || link.target || link.hasAttribute("download") || link.classList.contains("skip"))
    return;
  const url = new URL(link.href);
  if (url.origin !== location.origin || url.pathname.startsWith("/ui/")) return;
  event.preventDefault();
  navigate(url);
}

function press(event) {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  const typing = event.target.matches?.("input, textarea, select");
  if (event.key === "/" && !typing) {
    const search = main.querySelector("input[type=search]");
    if (!search) return;
    event.preventDefault();
    search.focus();
    search.select();
  } else if (event.key === "Escape") {
    if (typing) event.target.blur();
    else view.dismiss?.();
  }
}

function switchTheme() {
  const root = document.documentElement;
  const dark = getComputedStyle(root).colorScheme === "dark";
  const system = matchMedia("(prefers-color-scheme: dark)").matches;
  const now = root.dataset.theme ? dark : system;
  root.dataset.theme = now ? "light" : "dark";
  localStorage.setItem("theme", root.dataset.theme);
  dispatchEvent(new Event("theme"));
}

async function tellHealth(signal) {
  try {
    const told = await health(signal);
    const damaged = told.damaged.length ? ` · ${told.damaged.length} damaged` : "";
    setText(healthLine, `${count(told.events)} events · ${size(told.bytes)}${damaged} · ${told.version}`);
    healthLine.dataset.state = told.status;
  } catch (error) {
    signal.throwIfAborted();
    setText(healthLine, "The hub does not answer");
    healthLine.dataset.state = "away";
  }
}

document.addEventListener("click", follow);
document.addEventListener("keydown", press);
document.querySelector("#theme").addEventListener("click", switchTheme);
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () =>
  dispatchEvent(new Event("theme")),
);
addEventListener("popstate", () => location.href !== shown && show());
show();
poll(HEALTH_EVERY, tellHealth, new AbortController().signal);
