// The console works without this. It counts down what ends, and closes sheets with Escape.
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
})();
