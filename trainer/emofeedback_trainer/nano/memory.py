"""The loop's memory of the embedded models: what words do to the pictures of the released policy, as the judge sees it.

Random scenes of the world, told in full, each generated once and read by the judge. Nothing of it is measured by the
independent judge, and the tasks that the loop is measured on have no part in it.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from emofeedback.domain.affect import AffectPoint, clip_to_scale, target_phrase
from emofeedback.domain.assessment import Assessment, Judge
from emofeedback.domain.generation import GeneratedImage, GenerationRequest, Generator
from emofeedback.profiles.builtin import NANO_PROFILE
from emofeedback.storage.files import write_whole
from emofeedback_trainer.evaluation.output import with_engines
from emofeedback_trainer.nano.world.language import core, depiction
from emofeedback_trainer.nano.world.scenes import affect, sample_scene

OBSERVATIONS = 400
_SEED = 99
_TARGET_ERROR = 1.5
"""Standard deviation of the numbers behind a prompt around the scene's own, as a rewrite misses its target."""
_FIRST_SEED = 900_000


def told_scenes(count: int) -> list[tuple[str, AffectPoint]]:
    """Prompts that name all of a random scene, each with a target near the scene."""
    rng = np.random.default_rng(_SEED)
    told = []
    for _ in range(count):
        scene = sample_scene(rng)
        point = affect(scene)
        valence, arousal = rng.normal((point.valence, point.arousal), _TARGET_ERROR)
        target = AffectPoint(clip_to_scale(float(valence)), clip_to_scale(float(arousal)))
        told.append((depiction(core(scene), scene), target))
    return told


def remember(path: Path, count: int = OBSERVATIONS) -> None:
    """Generates and reads `count` scenes and writes the memory file."""
    write_memory(path, with_engines(NANO_PROFILE, lambda generator, judge: _observed(generator, judge, count)))


async def _observed(generator: Generator, judge: Judge, count: int) -> list[list[str | float]]:
    rows: list[list[str | float]] = []
    for index, (prompt, target) in enumerate(told_scenes(count)):
        request = GenerationRequest(prompt=f"{prompt}, {target_phrase(target)}", seeds=(_FIRST_SEED + index,))
        images = [event.data async for event in generator.generate(request) if isinstance(event, GeneratedImage)]
        [outcome] = await judge.assess(images)
        if isinstance(outcome, Assessment):
            rows.append([prompt, round(outcome.valence, 2), round(outcome.arousal, 2)])
    return rows


def write_memory(path: Path, rows: list[list[str | float]]) -> None:
    """One row a line: the file is read by people, too."""
    lines = ",\n".join(json.dumps(row) for row in rows)
    write_whole(path, f"[\n{lines}\n]\n".encode())
