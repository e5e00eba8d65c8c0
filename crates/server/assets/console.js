// The console works without this. It counts down what ends, shows anew what has changed, and closes sheets with Escape.
"use strict";

(() => {
  const UNITS = [[86400, "d"], [3600, "h"], [60, "min"], [1, "s"]];

  // As the server says it: the two largest units.
  const span = (ms) => {
    let left = Math.max(0, Math.floor(ms / 1000));
    const words = [];
    for (const [size, unit] of UNITS) {
      const count = Math.floor(left / size);
      left %= size;
      if (count > 0) words.push(`${count} ${unit}`);
      else if (words.length > 0) break;
      if (words.length === 2) break;
    }
    return words.join(" ") || "0 s";
  };

  // The page was made at a time of the gate's clock; this browser's may be another.
  const made = document.querySelector(".foot time");
  const ahead = made ? Date.now() - Date.parse(made.dateTime) : 0;

  const tick = () => {
    const now = Date.now() - ahead;
    for (const time of document.querySelectorAll("time[data-until]")) {
      const left = Number(time.dataset.until) - now;
      time.textContent = left > 0 ? span(left) : "over";
      time.classList.toggle("soon", left > 0 && left < 180000);
    }
  };
  tick();
  setInterval(tick, 1000);

  document.addEventListener("keydown", (event) => {
    if (event.key !== "Escape") return;
    for (const sheet of document.querySelectorAll(".top details[open]")) {
      sheet.open = false;
      sheet.querySelector("summary").focus();
    }
  });
  document.addEventListener("click", (event) => {
    for (const sheet of document.querySelectorAll(".top details[open]")) {
      if (!sheet.contains(event.target)) sheet.open = false;
    }
  });

  // Two minutes before a session ends because nobody did anything, its page asks.
  const idle = Number(document.body.dataset.idleMs);
  const EARLY = 120000;
  const askToStay = () => {
    const asks = document.createElement("p");
    asks.className = "alarm";
    asks.setAttribute("role", "alert");
    asks.textContent = "You will be signed out in two minutes, and what you typed here is lost. ";
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = "Stay signed in";
    button.addEventListener("click", async () => {
      const answer = await fetch("/stay", { method: "POST", headers: { "Content-Type": "application/json" }, body: "{}" });
      asks.remove();
      if (answer.ok) setTimeout(askToStay, idle - EARLY);
    });
    asks.append(button);
    document.querySelector("main").prepend(asks);
  };
  // Timers hold no more than 2^31 ms.
  if (idle > EARLY && idle < 2 ** 31) setTimeout(askToStay, idle - EARLY);

  // What is live on a page is made by the server, always: when something happened, the same page is asked for again, and its
  // parts take the place of those that are shown.
  const live = document.querySelector("[data-live]");
  if (!live || !window.EventSource) return;
  const status = document.querySelector("[data-live-status]");
  const say = (text) => { if (status && status.textContent !== text) status.textContent = text; };

  const refresh = async () => {
    const answer = await fetch(location.href, { headers: { accept: "text/html" }, credentials: "same-origin", cache: "no-store" });
    if (answer.status === 401) location.reload();
    if (!answer.ok) return;
    const page = new DOMParser().parseFromString(await answer.text(), "text/html");
    const focused = document.activeElement?.closest("[data-part] a[href]")?.getAttribute("href");
    for (const shown of document.querySelectorAll("[data-part]")) {
      // What somebody has opened or is scrolling stays as it is.
      if (shown.querySelector("details[open]")) continue;
      const fresh = page.querySelector(`[data-part="${CSS.escape(shown.dataset.part)}"]`);
      if (fresh && fresh.innerHTML !== shown.innerHTML) shown.replaceWith(document.importNode(fresh, true));
    }
    if (focused) document.querySelector(`[data-part] a[href="${CSS.escape(focused)}"]`)?.focus();
    tick();
  };

  let waiting = 0;
  const events = new EventSource(live.dataset.live);
  events.addEventListener("open", () => say("Live: what happens shows here at once."));
  events.addEventListener("error", () => say("Not live: the connection is being made again."));
  events.addEventListener("changed", () => {
    clearTimeout(waiting);
    waiting = setTimeout(() => refresh().catch(() => say("Not live: reload the page.")), 250);
  });
})();
