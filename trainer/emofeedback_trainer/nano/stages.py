"""The stages of `emofeedback-train nano`, and what it measures of the exported models.

They stand apart from the command's options because what is imported here takes seconds: `--help` need not wait for it.
"""

import argparse
import json
import os
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path

import torch
import torch.distributed as dist

from emofeedback.observability.console import say
from emofeedback.profiles.builtin import NANO_PROFILE
from emofeedback.profiles.overrides import load_profile
from emofeedback_trainer.evaluation.output import with_engines
from emofeedback_trainer.nano import memory, reinforced
from emofeedback_trainer.nano.measure import evaluate, latent
from emofeedback_trainer.nano.measure.generator import page
from emofeedback_trainer.nano.measure.panel import PANEL, markdown, measure_panel
from emofeedback_trainer.nano.models import (
    autoencoder,
    decoder,
    eyes,
    generator_parts,
    judge,
    judge_certainty,
    judge_domain,
    scorer,
    witness,
)
from emofeedback_trainer.nano.models import generator as base_generator
from emofeedback_trainer.nano.models import independent_judge as independent
from emofeedback_trainer.nano.world.plane import world_picture

_PAGE = 3000
"""Number of the first scene on the page."""
_SERVICES = Path(__file__).parents[3] / "services" / "emofeedback" / "nano"


def _world(out: Path, device: torch.device, steps: int | None) -> None:
    out.mkdir(parents=True, exist_ok=True)
    world_picture().save(out / "world.jpg", quality=80, optimize=True)


def _autoencoder(out: Path, device: torch.device, steps: int | None) -> None:
    recipe = autoencoder.AutoencoderRecipe()
    autoencoder.train_autoencoder(out / "autoencoder", replace(recipe, steps=steps or recipe.steps), device)


def _scenes(out: Path, device: torch.device, steps: int | None) -> None:
    vae = autoencoder.load_autoencoder(out / "autoencoder", device)
    base_generator.encode_scenes(out / "scenes", vae, base_generator.GeneratorRecipe(), device)


def _generator(out: Path, device: torch.device, steps: int | None) -> None:
    if "WORLD_SIZE" in os.environ:  # started by torchrun
        dist.init_process_group("nccl" if device.type == "cuda" else "gloo")
    recipe = base_generator.GeneratorRecipe()
    recipe = replace(recipe, steps=steps or recipe.steps)
    base_generator.train_generator(out / "generator", out / "scenes", out / "autoencoder", recipe, device)


def _decoder(out: Path, device: torch.device, steps: int | None) -> None:
    recipe = decoder.DecoderRecipe()
    recipe = replace(recipe, steps=steps or recipe.steps)
    decoder.finish_decoder(out / "decoder", out / "autoencoder", out / "generator", recipe, device)


def _independent(out: Path, device: torch.device, steps: int | None) -> None:
    recipe = independent.IndependentJudgeRecipe()
    independent.train_independent_judge(out / "critic", replace(recipe, steps=steps or recipe.steps), device)


def _witness(out: Path, device: torch.device, steps: int | None) -> None:
    recipe = witness.WitnessRecipe()
    witness.train_witness(out / "witness", replace(recipe, steps=steps or recipe.steps), device)


def _eyes(out: Path, device: torch.device, steps: int | None) -> None:
    eyes.train_eyes(out / "judge", steps=steps or eyes.STEPS, device=device.type)


def _judge(out: Path, device: torch.device, steps: int | None) -> None:
    judge.train_judge(out / "judge", steps=steps or judge.STEPS, device=device.type)


def _scorer(out: Path, device: torch.device, steps: int | None) -> None:
    scorer.train_scorer(out / "scorer", out / "judge", steps=steps or scorer.STEPS, device=device.type)


def _export(out: Path, device: torch.device, steps: int | None) -> None:
    generator_parts.export_generator(out / "generator", out / "decoder", _SERVICES / "generator")
    independent.export_independent_judge(out / "critic")
    witness.export_witness(out / "witness")
    judge.export_judge(out / "judge", _SERVICES / "judge")
    scorer.export_scorer(out / "scorer", _SERVICES / "scorer")


def _judge_grpo(out: Path, device: torch.device, steps: int | None) -> None:
    reinforced.reinforce_judge(out / "judge-grpo", _SERVICES / "judge")


def _policy(out: Path, device: torch.device, steps: int | None) -> None:
    reinforced.reinforce_generator(out / "policy", _SERVICES / "policies")


def _fast(out: Path, device: torch.device, steps: int | None) -> None:
    reinforced.distill_generator(out / "fast", _SERVICES / "policies")


def _judge_domain(out: Path, device: torch.device, steps: int | None) -> None:
    judge_domain.fit_domain(out / "judge-domain", _SERVICES / "judge")


def _judge_latent(out: Path, device: torch.device, steps: int | None) -> None:
    reinforced.teach_tokens(out / "judge-latent", _SERVICES / "judge", steps)


def _judge_certainty(out: Path, device: torch.device, steps: int | None) -> None:
    say(judge_certainty.fit_certainty(_SERVICES / "judge"))


def _fuse(out: Path, device: torch.device, steps: int | None) -> None:
    reinforced.fuse_generator(out / "fused", _SERVICES / "policies")


def _memory(out: Path, device: torch.device, steps: int | None) -> None:
    memory.remember(_SERVICES / "memory.json")


def _panel(arguments: argparse.Namespace) -> None:
    metrics = measure_panel(
        arguments.out / "panel", profile=load_profile(arguments.profile), limit=arguments.limit or len(PANEL)
    )
    say(json.dumps(asdict(metrics), indent=2) if arguments.json else markdown(metrics))


def _page(arguments: argparse.Namespace) -> None:
    path = arguments.out / "page.jpg"
    arguments.out.mkdir(parents=True, exist_ok=True)
    picture = with_engines(NANO_PROFILE, lambda generator, _: page(generator, seed=_PAGE))
    picture.save(path, quality=80, optimize=True)
    say(f"{path}: drawn scenes, and beside each what the default policy paints of its caption")


STAGES: dict[str, Callable[[Path, torch.device, int | None], None]] = {
    "world": _world,
    "autoencoder": _autoencoder,
    "scenes": _scenes,
    "generator": _generator,
    "decoder": _decoder,
    "critic": _independent,
    "witness": _witness,
    "eyes": _eyes,
    "judge": _judge,
    "scorer": _scorer,
    "export": _export,
    "judge-grpo": _judge_grpo,
    "policy": _policy,
    "fast": _fast,
    "judge-domain": _judge_domain,
    "judge-latent": _judge_latent,
    "judge-certainty": _judge_certainty,
    "fuse": _fuse,
    "memory": _memory,
}
"""The stages in the order in which they are made."""

MEASUREMENTS: dict[str, Callable[[argparse.Namespace], None]] = {
    "evaluate": evaluate.run,
    "tokens": latent.run,
    "panel": _panel,
    "page": _page,
}
"""What can be measured of the exported models."""
