"""The nano world's captions as a task: what a distilled policy has to paint as its teacher does.

Prompts as people and the loop write them: bare, with some or all of what moves the feeling, as the agent rewrites them,
and some from outside the world.
"""

from dataclasses import replace

import numpy as np

from emofeedback_trainer.core.task import TrainingPrompt
from emofeedback_trainer.nano.task import TASK as NANO_TASK
from emofeedback_trainer.nano.task import is_held_out
from emofeedback_trainer.nano.world.captions import emotional_caption, neutral_caption
from emofeedback_trainer.nano.world.invention import invented_prompt
from emofeedback_trainer.nano.world.language import core, depiction
from emofeedback_trainer.nano.world.scenes import Scene, sample_scene

_PROMPTS = 2000
_SHARES = {"bare": 0.25, "partly": 0.2, "whole": 0.2, "rewritten": 0.3, "invented": 0.05}


def _training(rng: np.random.Generator) -> tuple[TrainingPrompt, ...]:
    prompts: list[TrainingPrompt] = []
    while len(prompts) < _PROMPTS:
        scene = sample_scene(rng)
        if not is_held_out(scene.subject, scene.place):
            kind = str(rng.choice(list(_SHARES), p=list(_SHARES.values())))
            prompts.append(TrainingPrompt(prompt=_prompt(kind, scene, rng)))
    return tuple(prompts)


def _prompt(kind: str, scene: Scene, rng: np.random.Generator) -> str:
    match kind:
        case "bare":
            return neutral_caption(scene, rng)
        case "partly" | "whole":
            return emotional_caption(scene, rng, share=0.6 if kind == "partly" else 1.0)
        case "rewritten":
            return depiction(core(scene), scene)
        case _:
            return invented_prompt(rng, scene.subject)


TASK = replace(NANO_TASK, name="captions of the nano world", training=_training(np.random.default_rng(0)))
"""As the task of the embedded generator's policy, with other prompts to learn from."""
