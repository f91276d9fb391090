"""Long commands of the trainer made short: small models, few pictures, a checkpoint at every turn."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping, Sequence
from contextlib import asynccontextmanager, nullcontext
from pathlib import Path
from typing import Any
from unittest.mock import patch

from emofeedback.domain.assessment import Judge
from emofeedback.domain.generation import Generator
from emofeedback.profiles.overrides import to_toml
from emofeedback.profiles.profile import Profile
from emofeedback_trainer.emotional_memory.store import Memory
from emofeedback_trainer.evaluation.panel import Panel
from emofeedback_trainer.nano.task import TASK
from support import published_layouts
from support.colored_world import ColorGenerator, ColorWitness, color_judge, data_folder
from support.emoset_building import CaptioningEngines
from support.fakes import ScriptedJudge
from support.forked_command import Command
from support.killed_command import scripted
from support.scripted_training import SMALL, StoreGenerator, SummingLearner
from support.tiny_checkpoints import save_tiny_policy, save_tiny_sd3
from support.tiny_judges import MAX_PIXELS, save_tiny_qwen25vl

WISH = ("a quiet harbor", "--valence", "7.5", "--arousal", "3")
NAMES = (
    "create",
    "create --prompts",
    "sweep",
    "flow-grpo",
    "judge-sft",
    "judge-grpo",
    "judge-latent",
    "distill-steps",
    "fuse",
    "memory fill",
    "memory refresh",
    "nano dataset",
    "build-eemodb",
    "build-emoset",
)


def main(words: Sequence[str]) -> int:
    """`emofeedback-train WORDS`."""
    from emofeedback_trainer.cli import main

    return main(words)


def fill(words: Sequence[str]) -> int:
    """`emofeedback-train memory fill WORDS`, painted and judged by scripted models."""
    from emofeedback_trainer.emotional_memory import cli

    def with_colors(_: Profile, work: Callable[[Any, Any], Coroutine[Any, Any, Memory]]) -> Memory:
        return asyncio.run(work(ColorGenerator(), color_judge()))

    with patch.object(cli, "with_engines", with_colors), patch.object(cli, "load_witness", lambda _: ColorWitness()):
        return main(["memory", "fill", *words])


def flow_grpo(words: Sequence[str]) -> int:
    """`emofeedback-train flow-grpo WORDS`, painted and judged by scripted models, learned by one that adds up."""
    from emofeedback_trainer.flow_grpo import components
    from emofeedback_trainer.flow_grpo.config import FlowGrpoConfig

    @asynccontextmanager
    async def engines(_: FlowGrpoConfig, policies: str) -> AsyncIterator[tuple[Generator, Judge]]:
        yield StoreGenerator(store=policies, delay=0.01), ScriptedJudge(delay=0.005)

    def panel(config: FlowGrpoConfig) -> Panel:
        return Panel(pairs=TASK.panel[:2], images=2, rewards=config.rewards, independent=None)

    with (
        patch.object(components, "engines", engines),
        patch.object(components, "learner_of", lambda _: nullcontext(SummingLearner())),
        patch.object(components, "load_panel", panel),
    ):
        return main(["flow-grpo", "--report-to", "none", *words])


def build_emoset(words: Sequence[str]) -> int:
    """`emofeedback-train data build-emoset WORDS` on a Ray of its own, captioned by a judge that follows a script."""
    from emofeedback_trainer.data import build_cli

    os.environ["PYTHONPATH"] = str(Path(__file__).parents[1])  # Ray's workers find the judge
    with patch.object(build_cli, "connect", lambda *_: CaptioningEngines()):
        return main(["data", "build-emoset", *words])


def commands(folder: Path) -> Mapping[str, Command]:
    """By name, with all that they read in the folder."""
    again: tuple[str, ...] = ()
    data = data_folder(folder / "colors", train=96, val=32)
    save_tiny_qwen25vl(folder / "judge")
    published_layouts.emoset(folder / "EmoSet", per_split=200)
    model = {"model.checkpoint": str(folder / "judge"), "model.max_pixels": MAX_PIXELS}
    schedule = {
        **{"schedule.steps": 8, "schedule.batch": 4, "schedule.warmup": 0},
        **{"schedule.save_every": 1, "schedule.measure_every": 4, "schedule.measured": 1},
    }
    latent = {
        **{"looks": 2, "imaginations": 1, "known": 2, "save_every": 1, "steps": 8, "warmup": 1, "tokens": 16},
        **{"lessons": str(data), "variations": 2},
    }
    small = {"steps": 2, "updates": 12, "batch": 4, "save_every": 2, "learning_rate": 1e-2}
    profile = tiny_profile(folder, save_tiny_sd3(folder / "tiny-sd3"))
    (folder / "prompts.jsonl").write_text("".join(json.dumps({"prompt": f"a dog {n}"}) + "\n" for n in range(8)))
    distill = {
        **small,
        **{"profile": str(profile), "prompts": str(folder / "prompts.jsonl"), "policy": "base"},
        **{"teacher_steps": 4, "trajectories": 16, "rank": 2},
        **{"finish.updates": 6, "finish.head_start": 2, "finish.count": 8, "finish.batch": 2, "finish.kept": 2},
    }
    lessons = (
        {"prompt": f"a dog {n}", "told": f"a dog {n}, bright", "valence": 2 + n % 7, "arousal": 5, "variations": [0]}
        for n in range(12)
    )
    (folder / "lessons.jsonl").write_text("".join(json.dumps(lesson) + "\n" for lesson in lessons))
    fuse = {
        **small,
        **{"profile": str(profile), "lessons": str(folder / "lessons.jsonl"), "policy": "warm", "states": "numbers"},
        **{"teacher_steps": 2, "tokens": 3, "count": 30, "painted": 20, "word_updates": 8, "windows": 2},
        **{"connector.width": 16, "connector.heads": 2, "connector.layers": 1},
    }
    filling = ("--data", str(data), "--policy", "base", "--twins", "96", "--held-out", "32")
    assert fill([*filling, str(folder / "memory")]) == 0
    rows, run = folder / "rows.csv", folder / "run.toml"
    rows.write_text("prompt,valence,arousal\na quiet harbor,7,3\na dog,2,6\n")
    run.write_text(to_toml(SMALL))
    refresh = {**model, "steps": 6, "batch": 4, "save_every": 1, "measured": 2}
    of_data = ("--data", str(data))
    return {
        "create": Command(run=scripted, words=("create", *WISH, "--rounds", "3", "--images", "3")),
        "create --prompts": Command(
            run=scripted, words=("create", "--prompts", str(rows), "--rounds", "2", "--images", "2")
        ),
        "flow-grpo": Command(run=flow_grpo, words=("--config", str(run))),
        "sweep": Command(run=scripted, words=("sweep", WISH[0], "--grid", "2", "--rounds", "2", "--images", "2")),
        "judge-sft": Command(
            run=main, words=("judge-sft", *of_data, *_set({**model, **schedule, "max_new_tokens": 8}))
        ),
        "judge-grpo": Command(
            run=main,
            words=(
                "judge-grpo",
                *of_data,
                *_set({**model, **schedule, "schedule.steps": 4, "max_new_tokens": 8, "num_generations": 2}),
            ),
        ),
        "judge-latent": Command(
            run=main,
            resume=again,
            words=("judge-latent", *_set({**model, **latent})),
        ),
        "distill-steps": Command(run=main, words=("distill-steps", *_set(distill))),
        "fuse": Command(run=main, words=("fuse", *_set(fuse))),
        "memory fill": Command(run=fill, out=again, resume=again, words=filling),
        "memory refresh": Command(
            run=main, resume=again, words=("memory", "refresh", str(folder / "memory"), *of_data, *_set(refresh))
        ),
        "nano dataset": Command(
            run=main,
            out=again,
            resume=again,
            words=("nano", "dataset", "--train", "60", "--val", "20", "--test", "20"),
        ),
        "build-eemodb": Command(
            run=main, out=again, resume=again, words=("data", "build-eemodb", "--source", "built", str(data))
        ),
        "build-emoset": Command(
            run=build_emoset,
            out=again,
            resume=again,
            words=(str(folder / "EmoSet"), "--train", "150", "--test", "50"),
        ),
    }


def tiny_profile(folder: Path, checkpoint: Path) -> Path:
    """A profile in the folder whose generator is a tiny SD3, with a policy `warm`."""
    save_tiny_policy(folder / "policies" / "warm", checkpoint)
    path = folder / "tiny.toml"
    path.write_text(
        f"""extends = "sd35-medium"
[generator]
checkpoint = {json.dumps(str(checkpoint))}
width = 32
height = 32
device = "cpu"
dtype = "float32"
max_text_tokens = 24
minimum_gpu_memory_gib = 0.0
policies = {json.dumps(str(folder / "policies"))}
policy = "warm"
"""
    )
    return path


def _set(changes: Mapping[str, Any]) -> tuple[str, ...]:
    return tuple(word for key, value in changes.items() for word in ("--set", f"{key}={value}"))
