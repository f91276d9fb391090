"""The nano world as a task whose prompts tell their feeling in words too, as rewritten ones do.

A policy that never saw any learns what a target means and forgets what a foggy sky is. It stands apart from the other
tasks because imagining scenes for all subjects and places takes seconds, which whoever needs only those must not wait.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from emofeedback.domain.affect import AffectPoint
from emofeedback_trainer.core.task import TrainingPrompt
from emofeedback_trainer.nano.task import TASK, plain_prompt, trained_on
from emofeedback_trainer.nano.world.language import WAYS, depiction, imagined_scene


def _emotional_prompts() -> tuple[TrainingPrompt, ...]:
    """Subjects and places that nobody holds out, with a feeling in words, each with the target that it was imagined
    for. One in every way, targets all over the plane."""
    rng = np.random.default_rng(0)
    prompts = []
    for subject, place in trained_on():
        for way in range(WAYS):
            target = AffectPoint(*np.rint(rng.uniform(1, 9, 2)).tolist())
            scene = imagined_scene(target, subject, place, way)
            prompts.append(TrainingPrompt(prompt=depiction(plain_prompt(subject, place), scene), target=target))
    return tuple(prompts)


EMOTIONAL_TASK = replace(TASK, training=TASK.training + _emotional_prompts())
"""As many prompts with a feeling as without."""
