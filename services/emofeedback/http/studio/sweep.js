// One prompt over the whole plane: a run of one round for every cell of a grid, each kept as any other.
// The address says all of it, so a reload finds what is painted, and the rest is painted when a person says so.

import * as api from "./api.js";
import { byId, feeling, h, number, say } from "./dom.js";
import { fromResult, newRun, take, tileAt } from "./model.js";
import { complain, image } from "./run.js";

const TOGETHER = 2; // runs under way at once: one is judged while the other is painted
const KEYS = ["prompt", "grid", "images", "seed", "policy"];
const near = (a, b) => Math.abs(a - b) < 1e-6;

// Centers of the cells, as `emofeedback sweep` has them.
const centers = (grid) => Array.from({ length: grid }, (_, i) => 1 + (8 * (i + 0.5)) / grid);

export class Sweep {
  // `policies` are names to choose from.
  constructor(canvas, policies) {
    Object.assign(this, { canvas, policies, cells: [], going: null, shown: 0, begin: false });
  }

  async show(parts) {
    const asked = Object.fromEntries(KEYS.map((key, i) => [key, parts[i] ?? ""]));
    this.grid = h("div", { class: "sweep", role: "list", "aria-label": "The plane: valence to the right, arousal upwards" });
    this.status = h("p", { class: "state", role: "status" });
    this.actions = h("div", { class: "actions" });
    this.holder = h("div", { class: "pad plain" });
    this.canvas.replaceChildren(
      h("header", { class: "run-head" }, h("div", {}, h("h1", {}, "One prompt over the plane"),
        h("p", { class: "soft" }, "A cell for every feeling: calm to stirred upwards, unpleasant to pleasant to the right."))),
      h("div", { class: "spread" }, h("div", { class: "column" }, this.form(asked), this.status, this.actions), this.holder));
    if (!asked.prompt) return;
    this.asked = { ...asked, grid: Number(asked.grid), images: Number(asked.images), seed: Number(asked.seed) };
    this.build();
    this.update();
    const shown = this.shown;
    await this.find();
    if (shown !== this.shown) return; // its reader has gone on
    this.update();
    // A sweep that was under way when its page was left goes on.
    if (this.begin || this.cells.some((cell) => cell.run?.live)) await this.paint();
  }

  form(asked) {
    const field = (label, attributes) => h("label", {}, label, h("input", { type: "number", required: true, ...attributes }));
    const policy = h("select", { name: "policy" }, h("option", { value: "" }, "the usual one"),
      ...this.policies.map((name) => h("option", { value: name, selected: name === asked.policy }, name)));
    return h("form", { class: "asked", onsubmit: (event) => {
      event.preventDefault();
      const values = new FormData(event.target);
      const address = `#/sweep/${KEYS.map((key) => encodeURIComponent(values.get(key))).join("/")}`;
      this.begin = true;
      if (location.hash === address) this.paint().catch(complain);
      else location.hash = address;
    } },
      h("label", { class: "wide" }, "What should all of them show?",
        h("input", { name: "prompt", required: true, maxlength: 2000, value: asked.prompt || byId("prompt").value, placeholder: "a house by the lake" })),
      field("Cells a side", { name: "grid", min: 2, max: 9, value: asked.grid || 3 }),
      field("Pictures a cell", { name: "images", min: 1, max: 64, value: asked.images || 2 }),
      field("Seed", { name: "seed", min: 0, value: asked.seed || 0 }),
      h("label", {}, "Policy", policy),
      h("button", { class: "primary wide" }, "Sweep"));
  }

  build() {
    const { grid, images, seed } = this.asked;
    const places = centers(grid);
    this.cells = places.toReversed().flatMap((arousal, top) => places.map((valence, column) => ({
      valence, arousal, run: null, seed: seed + ((grid - 1 - top) * grid + column) * images,
      view: h("div", { role: "listitem", class: "cell" }),
    })));
    this.grid.style.setProperty("--cells", grid);
    this.grid.replaceChildren(...this.cells.map((cell) => cell.view));
    this.holder.replaceChildren(this.grid,
      h("span", { class: "end left" }, "unpleasant"), h("span", { class: "end right" }, "pleasant"),
      h("span", { class: "end up" }, "stirred"), h("span", { class: "end down" }, "calm"));
  }

  // The runs that were painted for these cells, newest first.
  async find() {
    const { cells, asked: { prompt, images, policy } } = this;
    const { data } = await api.get(`/v1/runs?limit=500&q=${encodeURIComponent(prompt)}`);
    await Promise.all(cells.map(async (cell) => {
      const found = data.find((run) => run.prompt === prompt && run.images === images && run.seed === cell.seed && run.policy === policy
        && near(run.target.valence, cell.valence) && near(run.target.arousal, cell.arousal));
      if (found) cell.run = fromResult(await api.get(`/v1/runs/${encodeURIComponent(found.id)}`));
      this.updateCell(cell);
    }));
  }

  async paint() {
    this.begin = false;
    if (this.going) return;
    const going = new AbortController();
    this.going = going;
    this.update();
    const waiting = this.cells.filter((cell) => !cell.run?.done);
    const work = async () => {
      while (waiting.length && !going.signal.aborted) await this.paintCell(waiting.shift(), going.signal);
    };
    try {
      await Promise.all(Array.from({ length: TOGETHER }, work));
    } catch (error) {
      going.abort();
      if (error.name !== "AbortError") throw error;
    } finally {
      if (this.going === going) this.going = null;
      this.update();
    }
    if (!going.signal.aborted) say("The plane is painted");
  }

  async paintCell(cell, signal) {
    const { prompt, images, policy } = this.asked;
    if (!cell.run) {
      const wish = { prompt, valence: cell.valence, arousal: cell.arousal, rounds: 1, images, seed: cell.seed, policy };
      const { id } = await api.post("/v1/runs", wish);
      cell.run = { ...newRun(id), prompt, target: wish, asked: wish };
    } else if (!cell.run.live) await api.post(`/v1/runs/${encodeURIComponent(cell.run.id)}/continue`);
    cell.run.live = true;
    this.updateCell(cell);
    await api.follow(`/v1/runs/${encodeURIComponent(cell.run.id)}/events`, (name, told) => {
      take(cell.run, name, told);
      if (name === "error") say(told.error.message, { wrong: true });
      this.updateCell(cell);
    }, signal);
    this.update();
  }

  async stop() {
    const live = this.cells.filter((cell) => cell.run?.live);
    this.going?.abort();
    await Promise.all(live.map((cell) => api.post(`/v1/runs/${encodeURIComponent(cell.run.id)}/stop`)));
    for (const cell of live) cell.run.live = false;
    this.update();
  }

  leave() {
    this.shown++;
    this.going?.abort();
    this.going = null;
  }

  update() {
    const done = this.cells.filter((cell) => cell.run?.done);
    const losses = done.map((cell) => cell.run.best?.loss).filter((loss) => loss !== undefined);
    const missing = this.cells.length - done.length;
    const mean = losses.length ? `, off by ${number(losses.reduce((a, b) => a + b) / losses.length)} on average` : "";
    this.status.textContent = `${done.length} of ${this.cells.length} cells painted${mean}`;
    this.actions.replaceChildren(...[
      this.going && h("button", { type: "button", class: "warn", onclick: () => this.stop().catch(complain) }, "Stop"),
      !this.going && missing > 0 && h("button", { type: "button", class: "primary", onclick: () => this.paint().catch(complain) }, `Paint the ${missing} that are missing`),
    ].filter(Boolean));
  }

  updateCell({ run, valence, arousal, view }) {
    const tile = run && tileAt(run, run.best);
    const now = `${run?.id}|${run?.live}|${tile?.url}|${run?.error}`;
    if (view.dataset.now === now) return;
    view.dataset.now = now;
    const wanted = feeling({ valence, arousal });
    if (!run) { view.replaceChildren(h("span", { class: "veil", "aria-label": wanted }, wanted)); return; }
    const read = tile ? `${wanted}: ${tile.outcome.emotion}, off by ${number(tile.loss)}` : `${wanted}: ${run.error ?? (run.live ? "being painted" : run.state || "no answer")}`;
    view.replaceChildren(h("a", { href: `#/run/${encodeURIComponent(run.id)}`, class: "frame", "aria-label": read, title: read },
      tile ? image(tile.url, "") : h("span", { class: "veil" }, run.live ? "\u2026" : wanted)));
  }
}
