// The valence-arousal plane: where pictures land, and where a finger puts the target.

import { h, svg } from "./dom.js";

const SIDE = 400;
// Where a name stands beside its dot: three of the eight lie close together.
const ASIDE = {
  amusement: [9, -3, "start"], awe: [8, 13, "start"], contentment: [-8, 4, "end"], excitement: [0, -11, "middle"],
  anger: [-8, 13, "end"], disgust: [8, 5, "start"], fear: [7, -9, "start"], sadness: [0, 19, "middle"],
};

export const x = (valence) => ((valence - 1) / 8) * SIDE;
export const y = (arousal) => SIDE - ((arousal - 1) / 8) * SIDE;
const clip = (value) => Math.round(Math.min(9, Math.max(1, value)) * 10) / 10;

// From the first round (cool) to the last (warm).
export function roundColor(index, rounds) {
  return `color-mix(in oklch, var(--first) ${Math.round(100 - (100 * index) / Math.max(rounds - 1, 1))}%, var(--last))`;
}

export class Plane {
  // `choose(point)` is called where the target may be moved.
  constructor(holder, { choose = null, label = "The plane of valence and arousal" } = {}) {
    this.ground = new Ground();
    this.words = svg("g", { class: "words" });
    this.dots = svg("g");
    this.target = svg("g", { class: "target" });
    this.target.append(
      svg("circle", { r: 19, class: "ring" }), svg("circle", { r: 5, class: "bull" }),
    );
    this.svg = svg("svg", { viewBox: `-14 -14 ${SIDE + 28} ${SIDE + 28}`, role: "img", "aria-label": label, class: "plane" });
    this.svg.append(this.ground.element, this.words, this.dots, this.target);
    holder.replaceChildren(this.svg,
      h("span", { class: "end left" }, "unpleasant"), h("span", { class: "end right" }, "pleasant"),
      h("span", { class: "end up" }, "stirred"), h("span", { class: "end down" }, "calm"));
    if (choose) this.movable(choose);
  }

  movable(choose) {
    this.svg.classList.add("movable");
    const at = (event) => {
      const box = this.svg.getBoundingClientRect();
      const scale = (SIDE + 28) / box.width;
      const [px, py] = [(event.clientX - box.left) * scale - 14, (event.clientY - box.top) * scale - 14];
      choose({ valence: clip(1 + (px / SIDE) * 8), arousal: clip(1 + ((SIDE - py) / SIDE) * 8) });
    };
    this.svg.addEventListener("pointerdown", (event) => {
      this.svg.setPointerCapture(event.pointerId);
      at(event);
    });
    this.svg.addEventListener("pointermove", (event) => {
      if (this.svg.hasPointerCapture(event.pointerId)) at(event);
    });
  }

  aim(point) {
    this.target.setAttribute("transform", `translate(${x(point.valence)} ${y(point.arousal)})`);
  }

  name(emotions) {
    this.words.replaceChildren(...emotions.map(({ name, valence, arousal }) => {
      const [dx, dy, anchor] = ASIDE[name] ?? [8, 4, "start"];
      return svg("g", { transform: `translate(${x(valence)} ${y(arousal)})` },
        svg("circle", { r: 2.5 }), svg("text", { x: dx, y: dy, "text-anchor": anchor }, name));
    }));
  }

  // What the model reaches: the ground is bright around every place where a picture landed, and pale elsewhere.
  shade(points) {
    this.ground.shade(points);
  }

  // [{ valence, arousal, color, best, label, key }]; a new one lands with a drop.
  land(points) {
    this.svg.classList.toggle("landed", points.length > 0);
    const known = new Map([...this.dots.children].map((dot) => [dot.dataset.key, dot]));
    this.dots.replaceChildren(...points.map((p) => {
      const dot = known.get(p.key) ?? svg("circle", { class: "dot", "data-key": p.key });
      dot.setAttribute("cx", x(p.valence));
      dot.setAttribute("cy", y(p.arousal));
      dot.setAttribute("r", p.best ? 10 : 6);
      dot.classList.toggle("best", Boolean(p.best));
      dot.style.fill = p.color;
      dot.replaceChildren(svg("title", {}, p.label));
      return dot;
    }));
  }
}

// The four quarters' colors under a grid.
class Ground {
  constructor() {
    const id = `g${Math.random().toString(36).slice(2)}`;
    const glow = (corner, cx, cy, name) => svg("radialGradient", { id: `${id}${corner}`, cx, cy, r: "0.85" },
      svg("stop", { offset: "0", class: name, "stop-opacity": "0.55" }), svg("stop", { offset: "1", class: name, "stop-opacity": "0" }));
    const layers = () => ["a", "b", "c", "d"].map((corner) => svg("rect", { width: SIDE, height: SIDE, rx: 14, fill: `url(#${id}${corner})` }));
    const lines = [2, 4, 6, 8].flatMap((i) => [
      svg("line", { x1: x(i), x2: x(i), y1: 0, y2: SIDE }), svg("line", { x1: 0, x2: SIDE, y1: y(i), y2: y(i) })]);
    this.mask = `url(#${id}m)`;
    this.reach = svg("g", { fill: "#fff", filter: `url(#${id}f)` });
    this.pale = svg("g", {}, ...layers());
    this.bright = svg("g", {}, ...layers());
    this.element = svg("g", {},
      svg("defs", {}, glow("a", 0, 0, "anger"), glow("b", 1, 0, "joy"), glow("c", 1, 1, "rest"), glow("d", 0, 1, "grief"),
        svg("filter", { id: `${id}f` }, svg("feGaussianBlur", { stdDeviation: 13 })),
        svg("mask", { id: `${id}m`, maskUnits: "userSpaceOnUse", x: 0, y: 0, width: SIDE, height: SIDE }, this.reach)),
      svg("rect", { width: SIDE, height: SIDE, rx: 14, class: "ground" }), this.pale, this.bright,
      svg("g", { class: "grid" }, ...lines),
      svg("g", { class: "cross" }, svg("line", { x1: x(5), x2: x(5), y1: 0, y2: SIDE }), svg("line", { x1: 0, x2: SIDE, y1: y(5), y2: y(5) })));
  }

  shade(points) {
    this.reach.replaceChildren(...points.map((p) => svg("circle", { cx: x(p.valence), cy: y(p.arousal), r: 24 })));
    if (points.length) this.bright.setAttribute("mask", this.mask);
    else this.bright.removeAttribute("mask");
    this.pale.setAttribute("opacity", points.length ? 0.25 : 0);
  }
}
