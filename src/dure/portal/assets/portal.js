// Keeps the page current: on each "changed" event the page is fetched again and only the parts that differ are replaced.
// The server renders everything, so a page without this script is whole, only still.
"use strict";

const QUIET_MS = 500; // Changes that follow each other closely cost one fetch.
const RETRY_MS = 2000;
const live = document.getElementById("live");
let isWanted = false;
let isFetching = false;

function show(isLive) {
  live.textContent = isLive ? document.body.dataset.live : document.body.dataset.lost;
  live.classList.toggle("lost", !isLive);
}

async function refresh() {
  isWanted = true;
  if (isFetching || document.hidden) return;
  isFetching = true;
  try {
    while (isWanted) {
      isWanted = false;
      const answer = await fetch(location.href, { credentials: "same-origin" });
      if (answer.status === 401) { location.reload(); return; }
      if (answer.ok) replaceParts(new DOMParser().parseFromString(await answer.text(), "text/html"));
      await new Promise((resolve) => setTimeout(resolve, QUIET_MS));
    }
  } catch {
    show(false);
  } finally {
    isFetching = false;
  }
}

function replaceParts(fresh) {
  for (const part of fresh.querySelectorAll("[data-part]")) {
    const shown = document.getElementById(part.id);
    if (!shown) { replaceMain(fresh); return; }
    // A log that is being followed is ahead of the server's copy; it is replaced only when it becomes another log.
    const isSameLog = part.dataset.part && part.dataset.part === shown.dataset.part && shown.querySelector("pre");
    if (isSameLog || shown.outerHTML === part.outerHTML || shown.contains(document.activeElement) && holdsFocus(shown)) continue;
    shown.replaceWith(document.importNode(part, true));
  }
  for (const shown of document.querySelectorAll("[data-part]")) {
    if (!fresh.getElementById(shown.id)) shown.remove();
  }
  follow();
}

// A part that appears for the first time has a place only on the whole page.
function replaceMain(fresh) {
  document.getElementById("main").replaceWith(document.importNode(fresh.getElementById("main"), true));
  follow();
}

// Replacing what a keyboard user stands on would throw them back to the top; it is brought up to date when they move on.
function holdsFocus(part) {
  return document.activeElement.matches("a, pre, [tabindex]") && part !== document.activeElement;
}

let followed = null;
let followedLog = null;

function follow() {
  const log = document.getElementById("log");
  if (log === followedLog) return;
  if (followed) followed.close();
  followed = null;
  followedLog = log;
  if (!log) return;
  log.scrollTop = log.scrollHeight;
  followed = new EventSource(log.dataset.follow + "&offset=" + log.dataset.offset);
  followed.addEventListener("output", (event) => append(log, JSON.parse(event.data).text));
  followed.addEventListener("end", () => { followed.close(); refresh(); });
}

function append(log, text) {
  const wasAtEnd = log.scrollTop + log.clientHeight >= log.scrollHeight - 4;
  log.append(text);
  if (wasAtEnd) log.scrollTop = log.scrollHeight;
}

function listen() {
  const changes = new EventSource("/changes");
  changes.addEventListener("open", () => show(true));
  changes.addEventListener("changed", refresh);
  changes.addEventListener("error", () => {
    show(false);
    // The browser reconnects by itself unless the server refused; then we ask again.
    if (changes.readyState === EventSource.CLOSED) setTimeout(listen, RETRY_MS);
  });
}

document.addEventListener("visibilitychange", refresh);
listen();
follow();
