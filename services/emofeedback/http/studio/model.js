// What a run has come to, folded from its events or read from the disk. No elements here.

const PAUSED = "waiting for you";

export function newRun(id) {
  return { id, prompt: "", target: null, rounds: [], best: null, live: false, state: "", paused: false, error: null,
    unknown: [], subjects: "", seconds: 0, asked: {} };
}

const where = (id, round, index) => `/v1/runs/${encodeURIComponent(id)}/images/${round}/${index}`;

// From `GET /v1/runs/ID`.
export function fromResult(result) {
  const run = newRun(result.id);
  Object.assign(run, { prompt: result.request.prompt, target: result.request.target, asked: result.request,
    best: result.best, live: result.live, paused: result.paused, state: result.paused ? PAUSED : result.state, seconds: result.seconds, unknown: result.unknown_words,
    done: result.stopped_because !== null });
  run.rounds = result.rounds.map((round) => ({
    ...round,
    tiles: round.candidates.map((c) => ({ ...c, url: where(run.id, round.index, c.index), judged: true })),
    finished: true,
  }));
  return run;
}

function roundOf(run, index) {
  run.rounds[index] ??= { index, prompt: "", tiles: [], best: null, analysis: "", optimized_prompt: "", further: [],
    rejected: [], finished: false };
  return run.rounds[index];
}

function tileOf(run, round, index) {
  const tiles = roundOf(run, round).tiles;
  tiles[index] ??= { index, step: 0, steps: 1, url: null, outcome: null, judged: false };
  return tiles[index];
}

// The run after one more event; returns what a person is told of it, or nothing.
export function take(run, name, told) {
  switch (name) {
    case "round_started": {
      const round = roundOf(run, told.round);
      Object.assign(round, { prompt: told.prompt, finished: false });
      for (let i = 0; i < (run.asked.images ?? 0); i++) tileOf(run, told.round, i);
      run.live = true;
      return `Round ${told.round + 1} begins`;
    }
    case "words_unknown":
      run.unknown = [...new Set([...run.unknown, ...told.words])];
      run.subjects = told.subjects;
      return `The generator does not know: ${told.words.join(", ")}`;
    case "painting_step":
      Object.assign(tileOf(run, told.round, told.step.index), { step: told.step.step, steps: told.step.steps });
      return null;
    case "image_painted":
      Object.assign(tileOf(run, told.round, told.image.index), { seed: told.image.seed,
        url: where(run.id, told.round, told.image.index) });
      return null;
    case "image_judged":
      Object.assign(tileOf(run, told.round, told.candidate.index), told.candidate, { judged: true });
      return null;
    case "loss_computed":
      run.best = told.best;
      return null;
    case "gradient_estimated":
      roundOf(run, told.round).analysis = told.analysis;
      return "The judge has said what to change";
    case "prompt_updated":
      Object.assign(roundOf(run, told.round), { optimized_prompt: told.prompt, further: told.further, rejected: told.rejected });
      return null;
    case "round_finished": {
      const round = roundOf(run, told.round.index);
      const tiles = round.tiles;
      Object.assign(round, told.round, { finished: true, tiles });
      for (const candidate of told.round.candidates)
        Object.assign(tileOf(run, round.index, candidate.index), candidate, { judged: true });
      return null;
    }
    case "optimization_finished":
      Object.assign(run, { best: told.answer ?? run.best, live: false, done: true, seconds: told.seconds,
        state: { rounds: "all rounds done", tolerance: "near enough to the target", plateau: "no more gain",
          time_budget: "time was over" }[told.stopped_because] });
      return `Done: ${run.state}`;
    case "paused":
      Object.assign(run, { live: false, paused: true, state: PAUSED });
      return "The round is done. What next?";
    case "stopped":
      Object.assign(run, { live: false, state: "stopped" });
      return "Stopped";
    case "error":
      Object.assign(run, { live: false, error: told.error.message, state: "failed" });
      return told.error.message;
  }
  return null;
}

export function tileAt(run, answer) {
  return answer ? run.rounds[answer.round]?.tiles[answer.index] : null;
}

// What the next round would paint.
export function nextPrompt(run) {
  const last = run.rounds.findLast((round) => round.finished);
  return last ? last.optimized_prompt || last.prompt : run.prompt;
}
