"use strict";
// All lanes of the page take their place from two numbers of the body: the first time shown and the span, ms.
(() => {
  const body = document.body, tip = document.getElementById("tip");
  const whole = { from: Number(body.style.getPropertyValue("--from")), span: Number(body.style.getPropertyValue("--span")) };
  let view = { ...whole };
  const LABEL_PX = 5.6; // a character of an event's label

  function show(from, span) {
    const wide = Math.min(Math.max(span, whole.span / 2000), whole.span);
    view = { from: Math.min(Math.max(from, whole.from), whole.from + whole.span - wide), span: wide };
    body.style.setProperty("--from", view.from);
    body.style.setProperty("--span", view.span);
    draw();
  }
  function zoom(factor, at = 0.5) {
    const fixed = view.from + at * view.span;
    const span = Math.min(view.span * factor, whole.span);
    show(fixed - at * span, span);
  }
  const pan = (share) => show(view.from + share * view.span, view.span);

  function draw() {
    const open = document.querySelector(".chart .axis .track").clientWidth || 600;
    const raw = view.span / Math.max(open / 80, 2), power = 10 ** Math.floor(Math.log10(raw));
    const step = [1, 2, 5, 10].map((factor) => factor * power).find((one) => one >= raw);
    const digits = Math.max(0, -Math.floor(Math.log10(step)));
    for (const track of document.querySelectorAll(".axis .track")) {
      track.replaceChildren();
      for (let at = Math.ceil(view.from / step) * step; at <= view.from + view.span; at += step) {
        const tick = document.createElement("b");
        tick.style.setProperty("--a", at);
        tick.textContent = (Math.abs(at) < step / 2 ? 0 : at).toFixed(digits);
        track.append(tick);
      }
    }
    for (const marks of document.querySelectorAll(".marks")) layOut(marks);
    // What scrolls is a stop of the Tab key; what fits is none.
    for (const one of document.querySelectorAll(".scroll, .lines")) {
      if (one.scrollWidth > one.clientWidth || one.scrollHeight > one.clientHeight) one.tabIndex = 0;
      else one.removeAttribute("tabindex");
    }
  }
  // As lay_out in reports/drawing.py: from the last to the first, each label one lane above all marks that it reaches over.
  function layOut(marks) {
    const scale = marks.clientWidth / view.span, placed = [];
    for (const mark of [...marks.children].reverse()) {
      const at = Number(mark.style.getPropertyValue("--a"));
      const isShown = at >= view.from && at <= view.from + view.span;
      mark.hidden = !isShown;
      if (!isShown) continue;
      const label = mark.firstElementChild, width = label.textContent.length * LABEL_PX + 8;
      const isLeft = (at - view.from) * scale + width > marks.clientWidth && (at - view.from) * scale > width;
      label.style.left = isLeft ? "auto" : "3px";
      label.style.right = isLeft ? "3px" : "auto";
      const from = isLeft ? at - width / scale : at, to = isLeft ? at : at + width / scale;
      const lane = placed.filter((other) => other.from < to && other.to > from).reduce((most, other) => Math.max(most, other.lane + 1), 0);
      placed.push({ from: Math.min(from, at), to: Math.max(to, at), lane });
      mark.style.setProperty("--lane", lane);
    }
    marks.style.setProperty("--lanes", Math.max(1, ...placed.map((one) => one.lane + 1)));
    marks.style.setProperty("--rows", `${marks.nextElementSibling.clientHeight}px`);
  }

  function tell(element, x, y) {
    tip.textContent = element.dataset.text;
    tip.hidden = false;
    const { width, height } = tip.getBoundingClientRect();
    tip.style.left = `${Math.max(4, Math.min(x + 10, innerWidth - width - 4))}px`;
    tip.style.top = `${y + 18 + height > innerHeight ? Math.max(4, y - height - 8) : y + 18}px`;
  }
  const hush = () => { tip.hidden = true; };
  document.addEventListener("pointerover", (event) => {
    const element = event.target.closest("[data-text]");
    if (element) tell(element, event.clientX, event.clientY); else hush();
  });
  document.addEventListener("focusin", (event) => {
    const element = event.target.closest("[data-text]");
    if (!element) return hush();
    const place = element.getBoundingClientRect();
    tell(element, Math.max(place.left, 0), place.top);
  });
  document.addEventListener("focusout", hush);

  // The outages of a panel are one stop of the Tab key; arrows walk between them.
  for (const panel of document.querySelectorAll(".panel")) {
    const bars = [...panel.querySelectorAll(".bar")];
    if (bars.length) bars[0].tabIndex = 0;
    panel.addEventListener("keydown", (event) => {
      const at = bars.indexOf(event.target);
      const move = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[event.key];
      if (at < 0 || !move || event.shiftKey) return;
      event.preventDefault();
      const next = bars[Math.min(Math.max(at + move, 0), bars.length - 1)];
      bars[at].tabIndex = -1;
      next.tabIndex = 0;
      const from = Number(next.style.getPropertyValue("--a")), to = Number(next.style.getPropertyValue("--b"));
      if (to < view.from || from > view.from + view.span) show((from + to) / 2 - view.span / 2, view.span);
      next.focus();
    });
  }
  for (const chart of document.querySelectorAll(".chart")) {
    chart.addEventListener("keydown", (event) => {
      if (event.ctrlKey || event.metaKey || event.altKey) return;
      const act = { "+": () => zoom(0.5), "=": () => zoom(0.5), "-": () => zoom(2), 0: () => show(whole.from, whole.span) }[event.key];
      const step = event.shiftKey && { ArrowLeft: -0.25, ArrowRight: 0.25 }[event.key];
      if (!act && !step) return;
      event.preventDefault();
      if (act) act(); else pan(step);
    });
    chart.addEventListener("click", (event) => {
      const { zoom: factor, pan: share, reset } = event.target.dataset;
      if (factor) zoom(Number(factor));
      if (share) pan(Number(share));
      if (reset !== undefined) show(whole.from, whole.span);
    });
    chart.addEventListener("wheel", (event) => {
      const track = event.target.closest(".track");
      if (!track || !event.ctrlKey) return;
      event.preventDefault();
      const place = track.getBoundingClientRect();
      zoom(event.deltaY > 0 ? 1.25 : 0.8, (event.clientX - place.left) / place.width);
    }, { passive: false });
    let held = null;
    chart.addEventListener("pointerdown", (event) => {
      const track = event.target.closest(".track");
      if (track) held = { x: event.clientX, from: view.from, width: track.clientWidth };
    });
    addEventListener("pointermove", (event) => {
      if (held) show(held.from - (event.clientX - held.x) / held.width * view.span, view.span);
    });
    for (const end of ["pointerup", "pointercancel"]) addEventListener(end, () => { held = null; });
  }

  const runs = JSON.parse(document.getElementById("events-data").textContent);
  const search = document.getElementById("search"), rows = document.getElementById("event-rows");
  const SHOWN = 500;
  function list() {
    const wanted = search.value.toLowerCase().split(/\s+/).filter(Boolean), found = [];
    for (const { run, events } of runs) {
      for (const [at, name, facts] of events) {
        const text = `${run} ${name} ${facts}`.toLowerCase();
        if (wanted.every((word) => text.includes(word))) found.push([at.toFixed(1), run, name, facts]);
      }
    }
    rows.replaceChildren(...found.slice(0, SHOWN).map((cells) => {
      const row = document.createElement("tr");
      row.append(...cells.map((cell) => Object.assign(document.createElement("td"), { textContent: cell })));
      return row;
    }));
    const left = runs.filter(({ count, events }) => count > events.length)
      .map(({ run, count, events }) => `; of ${run} only the first ${events.length} of ${count} are in this page`);
    const total = runs.reduce((sum, { events }) => sum + events.length, 0);
    document.getElementById("found").textContent =
      `${found.length} of ${total} events${found.length > SHOWN ? `, the first ${SHOWN} are shown` : ""}${left.join("")}`;
  }
  search.addEventListener("input", () => { list(); draw(); });

  const folded = () => document.querySelectorAll("details:not([open]):not(#events)");
  const opened = [];
  addEventListener("beforeprint", () => {
    opened.push(...folded());
    for (const one of opened) one.open = true;
    show(whole.from, whole.span);
  });
  addEventListener("afterprint", () => { for (const one of opened.splice(0)) one.open = false; });
  for (const one of document.querySelectorAll("details")) one.addEventListener("toggle", draw);
  addEventListener("resize", draw);
  list();
  draw();
})();
