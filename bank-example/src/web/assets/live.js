// Keeps an open page up to date. Pages work without this script; they then show the state at the time of the request.
"use strict";

(() => {
  // The shortest time between two requests of a page for its own content, in milliseconds.
  const PAUSE = 250;
  const parser = new DOMParser();
  let timer = null;
  let asked = -PAUSE;
  let asking = false;
  let again = false;

  // Replaces the parts that differ from the answer. Values being typed into other parts stay.
  function show(answer) {
    for (const fresh of answer.querySelectorAll("[data-live]")) {
      const shown = document.getElementById(fresh.id);
      if (!shown || shown.innerHTML === fresh.innerHTML) continue;
      if (shown.querySelector("form :focus:not(button)")) continue;
      const focused = shown.contains(document.activeElement) ? document.activeElement : null;
      const known = new Set([...shown.querySelectorAll("[data-position]")].map((line) => line.dataset.position));
      shown.replaceChildren(...fresh.childNodes);
      if (known.size > 0) {
        for (const line of shown.querySelectorAll("[data-position]")) {
          if (!known.has(line.dataset.position)) line.classList.add("fresh");
        }
      }
      if (focused) refocus(shown, focused);
    }
  }

  function refocus(shown, focused) {
    const same = focused.id
      ? document.getElementById(focused.id)
      : [...shown.querySelectorAll("a[href]")].find((link) => link.href === focused.href);
    if (same) same.focus({ preventScroll: true });
  }

  async function ask() {
    timer = null;
    asked = performance.now();
    if (asking) { again = true; return; }
    asking = true;
    try {
      const url = new URL(location.href);
      url.searchParams.delete("done");
      // A page that is the answer to a form has the address of the form; data-page has the address of its content.
      const address = document.body.dataset.page || url.pathname + url.search;
      const response = await fetch(address, { headers: { accept: "text/html" } });
      if (response.ok) show(parser.parseFromString(await response.text(), "text/html"));
    } catch {
      // If the bank is gone, the stream reports it.
    }
    asking = false;
    if (again) { again = false; soon(); }
  }

  // Requests the content at once, or after PAUSE if that was just done.
  function soon() {
    if (timer !== null) return;
    timer = setTimeout(ask, Math.max(0, asked + PAUSE - performance.now()));
  }

  function listen() {
    if (!document.querySelector("[data-live]")) return;
    const state = document.getElementById("live-state");
    const say = (text, lost) => {
      state.hidden = false;
      state.classList.toggle("lost", lost);
      if (state.textContent !== text) state.textContent = text;
    };
    let events = null;
    let wasLost = false;
    const open = () => {
      if (events) return;
      events = new EventSource("/live");
      events.addEventListener("open", () => {
        say("Live", false);
        if (wasLost) soon();
        wasLost = false;
      });
      events.addEventListener("changed", soon);
      events.addEventListener("tick", () => { if (document.querySelector("[data-tick]")) soon(); });
      events.addEventListener("error", () => { wasLost = true; say("Not connected", true); });
    };
    const close = () => {
      if (events) events.close();
      events = null;
      wasLost = true;
    };
    // A browser has few connections for all its tabs, so hidden tabs close theirs.
    document.addEventListener("visibilitychange", () => (document.hidden ? close() : open()));
    addEventListener("pagehide", close);
    addEventListener("pageshow", (event) => { if (event.persisted) location.reload(); });
    if (!document.hidden) open();
  }

  // The slider shows each version while it is moved.
  function travel() {
    let newest = 0;
    document.addEventListener("input", async (event) => {
      const slider = event.target;
      if (!(slider instanceof HTMLInputElement) || slider.type !== "range" || !slider.dataset.travel) return;
      const mine = ++newest;
      const url = new URL(location.href);
      url.searchParams.delete("done");
      url.searchParams.set("at", slider.value);
      try {
        const response = await fetch(url, { headers: { accept: "text/html" } });
        if (!response.ok || mine !== newest) return;
        const answer = parser.parseFromString(await response.text(), "text/html");
        history.replaceState(null, "", url);
        for (const id of ["then", "chart", "history"]) {
          const [shown, fresh] = [document.getElementById(id), answer.getElementById(id)];
          if (shown && fresh) shown.replaceChildren(...fresh.childNodes);
        }
        const output = document.getElementById("travel-version");
        if (output) output.textContent = slider.value;
      } catch {
        // The page keeps showing the last version that was loaded.
      }
    });
  }

  listen();
  travel();
})();
