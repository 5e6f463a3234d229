"use strict";
(() => {
  const root = document.documentElement;
  root.classList.add("js");
  const chart = document.querySelector(".chart");
  const scroller = chart.querySelector(".scroller");
  const canvas = chart.querySelector(".canvas");
  const lanes = chart.querySelector(".lanes");
  const axis = chart.querySelector(".axis");
  const detail = document.getElementById("detail");
  const shownZoom = document.getElementById("zoom");
  const length = Number(chart.dataset.ms) || 1;
  const marks = [...chart.querySelectorAll(".mark")].sort((a, b) => a.dataset.m - b.dataset.m);
  const STEPS = [0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200];
  const SVG = "http://www.w3.org/2000/svg";
  let zoom = 1;
  let kept = null;

  // The axis: marks as far apart as can be read, and only those that are in sight.
  const clock = (seconds) => {
    const tenths = Math.round(seconds * 10);
    const whole = Math.floor(tenths / 10);
    const two = (value) => String(value).padStart(2, "0");
    const [hours, minutes] = [Math.floor(whole / 3600), Math.floor(whole / 60) % 60];
    const text = hours ? `${hours}:${two(minutes)}:${two(whole % 60)}` : `${minutes}:${two(whole % 60)}`;
    return tenths % 10 ? `${text}.${tenths % 10}` : text;
  };
  const make = (name, attributes) => {
    const made = document.createElementNS(SVG, name);
    for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
    return made;
  };
  const drawAxis = () => {
    const width = lanes.clientWidth || 1;
    const seconds = length / 1000;
    const step = STEPS.find((one) => (one / seconds) * width >= 76) || STEPS[STEPS.length - 1];
    const perPixel = seconds / width;
    const first = Math.max(0, Math.floor(((scroller.scrollLeft - 400) * perPixel) / step));
    const last = Math.min(seconds, (scroller.scrollLeft + scroller.clientWidth + 400) * perPixel);
    const height = lanes.getAttribute("height");
    const made = [];
    for (let number = first; number * step <= last; number += 1) {
      const x = `${((number * step) / seconds) * 100}%`;
      const text = make("text", { x, y: 12, dx: 3 });
      text.textContent = clock(number * step);
      if (number * step > seconds * 0.97) {
        text.setAttribute("text-anchor", "end");
        text.setAttribute("dx", -3);
      }
      made.push(make("line", { x1: x, x2: x, y1: 18, y2: height }), text);
    }
    axis.replaceChildren(...made);
  };
  let due = 0;
  const soon = () => {
    cancelAnimationFrame(due);
    due = requestAnimationFrame(drawAxis);
  };

  // Zoom around what is under the pointer, or in the middle.
  const most = () => Math.max(1, ((length / 1000) * 400) / scroller.clientWidth);
  const zoomTo = (wanted, at = scroller.clientWidth / 2) => {
    const place = (scroller.scrollLeft + at) / (scroller.clientWidth * zoom);
    zoom = Math.min(most(), Math.max(1, wanted));
    canvas.style.width = `${zoom * 100}%`;
    scroller.scrollLeft = place * scroller.clientWidth * zoom - at;
    shownZoom.textContent = zoom < 1.01 ? "fits" : `${zoom < 10 ? zoom.toFixed(1) : Math.round(zoom)}\u00d7`;
    soon();
  };
  document.getElementById("in").addEventListener("click", () => zoomTo(zoom * 2));
  document.getElementById("out").addEventListener("click", () => zoomTo(zoom / 2));
  document.getElementById("fit").addEventListener("click", () => zoomTo(1));
  scroller.addEventListener("scroll", soon, { passive: true });
  window.addEventListener("resize", () => zoomTo(zoom));
  scroller.addEventListener("wheel", (event) => {
    if (!event.ctrlKey && !event.metaKey) return;
    event.preventDefault();
    zoomTo(zoom * Math.exp(-event.deltaY / 300), event.clientX - scroller.getBoundingClientRect().left);
  }, { passive: false });

  // What is pointed at is shown with its events; a click or Enter keeps it.
  const show = (mark) => {
    for (const other of chart.querySelectorAll(".mark.on")) other.classList.remove("on");
    if (!mark || detail.dataset.m === mark.dataset.m) return;
    mark.classList.add("on");
    const row = document.getElementById(`m${mark.dataset.m}`);
    const title = document.createElement("h3");
    title.textContent = `${row.querySelector(".lane").textContent}, ${row.querySelector(".at").textContent}`;
    const body = row.querySelector("div");
    const parts = [...body.querySelectorAll(":scope > p, .remark")].map((part) => part.cloneNode(true));
    const events = [...body.querySelectorAll(".event")].map((event) => event.cloneNode(true));
    detail.replaceChildren(title, ...parts, ...events);
    detail.dataset.m = mark.dataset.m;
    detail.scrollTop = 0;
  };
  const keep = (mark) => {
    if (kept) kept.classList.remove("kept");
    kept = kept === mark ? null : mark;
    if (kept) kept.classList.add("kept");
    show(mark);
  };
  const markOf = (event) => event.target.closest(".mark");
  canvas.addEventListener("pointerover", (event) => {
    const mark = markOf(event);
    if (mark && !kept) show(mark);
  });
  canvas.addEventListener("focusin", (event) => {
    const mark = markOf(event);
    if (mark && !kept) show(mark);
  });
  canvas.addEventListener("click", (event) => {
    const mark = markOf(event);
    event.preventDefault();
    if (mark) keep(mark);
    else if (kept) keep(kept);
  });

  // One stop for the Tab key; the arrow keys go from mark to mark, in the order of time.
  let current = 0;
  const into = (mark) => {
    const [box, frame] = [mark.getBoundingClientRect(), scroller.getBoundingClientRect()];
    if (box.left < frame.left || box.left > frame.right - 40) scroller.scrollLeft += box.left - frame.left - frame.width / 3;
  };
  const go = (to) => {
    if (!marks.length) return;
    marks[current].setAttribute("tabindex", "-1");
    current = Math.min(marks.length - 1, Math.max(0, to));
    marks[current].setAttribute("tabindex", "0");
    marks[current].focus({ preventScroll: true });
    into(marks[current]);
    if (kept && kept !== marks[current]) keep(marks[current]);
  };
  marks.forEach((mark, number) => mark.setAttribute("tabindex", number ? "-1" : "0"));
  const KEYS = {
    ArrowRight: () => go(current + 1), ArrowLeft: () => go(current - 1),
    Home: () => go(0), End: () => go(marks.length - 1),
    "+": () => zoomTo(zoom * 2), "=": () => zoomTo(zoom * 2), "-": () => zoomTo(zoom / 2), "0": () => zoomTo(1),
    Escape: () => { if (kept) keep(kept); },
  };
  canvas.addEventListener("keydown", (event) => {
    const act = KEYS[event.key];
    if (!act || event.ctrlKey || event.metaKey || event.altKey) return;
    event.preventDefault();
    const mark = markOf(event);
    if (mark) current = marks.indexOf(mark);
    act();
  });

  // A line under the pointer, with its time.
  const cursor = document.createElement("div");
  cursor.className = "cursor";
  const label = document.createElement("span");
  cursor.append(label);
  canvas.append(cursor);
  canvas.addEventListener("pointermove", (event) => {
    const box = lanes.getBoundingClientRect();
    const x = Math.min(box.width, Math.max(0, event.clientX - box.left));
    cursor.style.display = "block";
    cursor.style.left = `${x + 8}px`;
    const second = (x / box.width) * length / 1000;
    label.textContent = second < 3600 ? `${clock(Math.floor(second))}.${Math.floor((second % 1) * 10)}` : clock(Math.floor(second));
    cursor.classList.toggle("left", event.clientX > scroller.getBoundingClientRect().right - 80);
  });
  canvas.addEventListener("pointerleave", () => { cursor.style.display = "none"; });
  drawAxis();
})();
