"""A training run written down by hand: the files that a run of some iterations leaves, and one rollout."""

from __future__ import annotations

import io
import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from emofeedback.domain.affect import AffectPoint, Emotion
from emofeedback.domain.assessment import Assessment
from emofeedback.domain.generation import Conditioning, GroupStarted, ModelInfo, NoiseWindow, Trajectory
from emofeedback.domain.tensors import Tensor
from emofeedback.profiles.overrides import to_toml
from emofeedback_trainer.core.condition import Condition
from emofeedback_trainer.evaluation.observations import Observation
from emofeedback_trainer.evaluation.panel import keep
from emofeedback_trainer.flow_grpo.config import CONFIGS
from emofeedback_trainer.flow_grpo.types import Rollout, ScoredGroup, ScoredTrajectory
from emofeedback_trainer.nano.models.independent_judge import IndependentReading
from emofeedback_trainer.nano.task import TASK
from emofeedback_trainer.nano.world.rendering import render
from emofeedback_trainer.nano.world.scenes import Scene, affect, sample_scene, scene_near

GENERATOR = ModelInfo(name="nano-generator", digest="sha256:" + "3a" * 32)
JUDGE = ModelInfo(name="nano-judge", digest="sha256:" + "5b" * 32)


def stage_run(folder: Path, *, iterations: int = 60, every: int = 10, pairs: int = 8, alarm_at: int = 50) -> None:
    """A finished run of the nano world; its pictures are drawn, not painted."""
    config = CONFIGS["nano"]
    config = replace(config, iterations=iterations, panel=replace(config.panel, every=every))
    folder.mkdir(parents=True, exist_ok=True)
    written = to_toml(config).replace('name = "nano"', 'name = "calm <&> co"')  # a report escapes whatever stands there
    (folder / "config.toml").write_text(written)
    rng = np.random.default_rng(0)
    write_lines(folder / "metrics.jsonl", [curve_line(i, iterations, rng) for i in range(1, iterations + 1)])
    measured = [*range(0, iterations, every), iterations]
    write_lines(folder / "eval.jsonl", [panel_line(i, iterations, alarm=i == alarm_at) for i in measured])
    for iteration, policy in ((0, "calm-000000"), (iterations, "calm-final")):
        stage_panel(folder / "panel" / f"{iteration:06d}", policy, pairs, trained=iteration > 0)
    status = {
        "state": "finished",
        "iteration": iterations,
        "iterations": iterations,
        "message": "",
        "updated": "2026-01-01T00:00:00+00:00",
    }
    (folder / "status.json").write_text(json.dumps(status))
    result = {
        "models": {"generator": vars_of(GENERATOR) | {"policy": "calm-final"}, "judge": vars_of(JUDGE)},
        "policy": "calm-final",
        "policy_digest": "sha256:" + "7c" * 32,
        "iterations": iterations,
        "seconds": 3127.4,
        "command": "emofeedback-train flow-grpo --config nano --out runs/calm",
    }
    (folder / "result.json").write_text(json.dumps(result))


def vars_of(model: ModelInfo) -> dict[str, str]:
    return {"name": model.name, "digest": model.digest}


def write_lines(path: Path, lines: list[dict[str, Any]]) -> None:
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))


def curve_line(iteration: int, iterations: int, rng: np.random.Generator) -> dict[str, Any]:
    """Learning that is quick at first, with the noise of small rollouts."""
    learned = 1 - math.exp(-3 * iteration / iterations)
    noise = rng.normal(0, 1, 8)
    valence, arousal = 0.35 + 0.4 * learned + 0.04 * noise[0], 0.3 + 0.38 * learned + 0.04 * noise[1]
    return {
        "iteration": iteration,
        "seconds": 24.0,
        "images_per_second": round(5.2 + 0.3 * noise[2], 2),
        "reward": valence + arousal + 0.3,
        "reward_valence": valence,
        "reward_arousal": arousal,
        "reward_alignment": 0.3 + 0.005 * noise[3],
        "judge_valence_error": 2.0 - 1.1 * learned + 0.1 * noise[4],
        "judge_arousal_error": 1.9 - 0.9 * learned + 0.1 * noise[5],
        "judge_valence_correlation": 0.3 + 0.5 * learned + 0.05 * noise[6],
        "judge_arousal_correlation": 0.25 + 0.5 * learned + 0.05 * noise[7],
        "spread_valence": 1.4 - 0.5 * learned,
        "spread_arousal": 1.2 - 0.4 * learned,
        "kl": 0.02 * learned,
        "clip_fraction": 0.1 * learned,
        "ratio_deviation": 0.0,
        "log_probability_drift": 2e-7,
        "gradient_norm": 0.4 + 0.1 * noise[0],
        "loss": -0.01 + 0.01 * noise[1],
        "groups": 8,
        "groups_dropped": int(iteration % 17 == 0),
        "policy": f"calm-{iteration - 1:06d}",
    }


def panel_line(iteration: int, iterations: int, *, alarm: bool = False) -> dict[str, Any]:
    """Errors fall; pictures darken a little."""
    learned = 1 - math.exp(-3 * iteration / iterations)
    valence, arousal = 2.1 - 1.0 * learned, 2.0 - 0.8 * learned
    return {
        "iteration": iteration,
        "valence_error": valence,
        "arousal_error": arousal,
        "error": valence + arousal,
        "valence_correlation": 0.31 + 0.5 * learned,
        "arousal_correlation": 0.27 + 0.45 * learned,
        "valence_slope": 0.2 + 0.5 * learned,
        "arousal_slope": 0.15 + 0.45 * learned,
        "subject_accuracy": 1.0 - 0.02 * learned,
        "alignment": 0.31 - 0.01 * learned,
        "brightness": 0.55 - 0.1 * learned,
        "saturation": 0.3 + 0.02 * learned,
        "edges": 0.05 - 0.004 * learned,
        "diversity": 0.2 - 0.05 * learned,
        "judge_reward": 0.9 + 0.8 * learned,
        "alarm": "the reward rises, but pictures lose their light" if alarm else "",
    }


def stage_panel(folder: Path, policy: str, pairs: int, *, trained: bool) -> None:
    """Pictures of the panel's first pairs: any mood before training, one near the target after it."""
    groups = []
    for number, pair in enumerate(TASK.panel[:pairs]):
        rng = np.random.default_rng(number)
        scene = sample_scene(rng, subject=pair.subject)
        scenes = [scene, replace(scene, layout=scene.layout // 2)]
        if trained:
            near = scene_near(rng, pair.target, subject=pair.subject, place=scene.place, among=60)
            scenes = [replace(near, layout=before.layout) for before in scenes]
        groups.append([observation(scene, seed=500_000 + 1000 * number + i) for i, scene in enumerate(scenes)])
    keep(folder, policy, TASK.panel[:pairs], groups)


def observation(scene: Scene, seed: int) -> Observation:
    """A drawn scene in the eyes of a judge and an independent judge who know it."""
    point = affect(scene)
    judged = assessment(point.valence, point.arousal)
    independent = IndependentReading(
        valence=point.valence,
        arousal=point.arousal,
        subject=scene.subject,
        place=scene.place,
        weather=scene.weather,
        extras=scene.extras,
        expression=scene.expression,
        light=scene.light,
    )
    return Observation(seed=seed, image=png(render(scene, 128)), judged=judged, alignment=0.3, independent=independent)


def assessment(valence: float, arousal: float) -> Assessment:
    return Assessment(valence=valence, arousal=arousal, emotion=Emotion.AWE, confidence=0.6)


def png(image: Image.Image) -> bytes:
    stream = io.BytesIO()
    image.save(stream, "PNG")
    return stream.getvalue()


def staged_rollout(iteration: int = 1, groups: int = 3, size: int = 4) -> Rollout:
    """Groups of drawn scenes with a target each."""
    rng = np.random.default_rng(iteration)
    nothing = Tensor(element_type="float32", shape=(0,), data=b"")
    started = GroupStarted(
        conditioning=Conditioning(tokens=nothing, pooled=nothing),
        negative=None,
        sigmas=nothing,
        model=GENERATOR,
        policy_digest="",
    )
    made = []
    for number in range(groups):
        pair = TASK.panel[number]
        samples = []
        for index in range(size):
            scene = sample_scene(rng, subject=pair.subject)
            point = affect(scene)
            trajectory = Trajectory(
                index=index,
                seed=index,
                latents=nothing,
                log_probabilities=nothing,
                final=nothing,
                image=png(render(scene, 128)),
            )
            samples.append(
                ScoredTrajectory(
                    trajectory=trajectory,
                    assessment=assessment(point.valence, point.arousal),
                    alignment=0.3,
                    rewards={"valence": 0.5, "arousal": 0.5, "alignment": 0.3},
                )
            )
        target = AffectPoint(pair.target.valence, pair.target.arousal)
        condition = Condition(prompt=pair.prompt, target=target)
        made.append(ScoredGroup(condition=condition, window=NoiseWindow(), started=started, samples=tuple(samples)))
    return Rollout(iteration=iteration, policy="calm-000000", groups=tuple(made), dropped={}, seconds=2.0)
