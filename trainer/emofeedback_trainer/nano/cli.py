"""`emofeedback-train nano <stage>`: makes the embedded models, stage by stage or all in order, and measures them."""

import argparse
import json
import os
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import asdict, replace
from pathlib import Path

import torch
import torch.distributed as dist

from emofeedback.cli.parsing import examples_of
from emofeedback.observability.console import say
from emofeedback.profiles.builtin import NANO_PROFILE
from emofeedback.profiles.overrides import load_profile
from emofeedback.storage.files import held
from emofeedback_trainer.evaluation.output import with_engines
from emofeedback_trainer.nano import memory, reinforced
from emofeedback_trainer.nano.dataset import add_dataset
from emofeedback_trainer.nano.measure import evaluate, latent
from emofeedback_trainer.nano.measure.generator import page
from emofeedback_trainer.nano.measure.panel import PANEL, markdown, measure_panel
from emofeedback_trainer.nano.models import (
    autoencoder,
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

_EXAMPLES = """examples:
  emofeedback-train nano all                        everything in order; run it again to go on where it was cut
  emofeedback-train nano generator --steps 8000     train the generator longer
  torchrun --nproc-per-node 2 --no-python emofeedback-train nano generator --threads 1
                                                    the same in two processes: quicker on two busy cores
  emofeedback-train nano export                     write the trained weights into the packages
  emofeedback-train nano judge-domain               teach the exported judge which pictures are of its world
  emofeedback-train nano evaluate --json            how good are the exported models, on scenes never trained on?
  emofeedback-train nano tokens --limit 200         what do the judge's reasoning tokens hold?
  emofeedback-train nano panel --limit 4            does the loop work? the first four runs of the fixed panel
  emofeedback-train nano page --out runs/page       what do its pictures look like beside drawn ones?
  emofeedback-train nano dataset runs/scenes        a data set of drawn scenes, whose feelings are known
"""
_PAGE = 3000
"""Number of the first scene on the page."""
_SERVICES = Path(__file__).parents[3] / "services" / "emofeedback" / "nano"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the stages and their options on the parser of `emofeedback-train nano`."""
    parser.description = "Make the embedded models of the nano world, measure them, and draw data sets of its scenes."
    parser.epilog = _EXAMPLES
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument("--out", type=Path, default=Path("nano-build"), help="folder of checkpoints and curves")
    common.add_argument("--steps", type=int, help="training steps of this stage, instead of the recipe's")
    common.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu", help="torch device")
    common.add_argument("--threads", type=int, help="CPU threads of torch")
    common.add_argument("--json", action="store_true", help="measurements: print JSON instead of a table")
    common.add_argument("--limit", type=int, help="panel: only so many runs; evaluate, tokens: only so many pictures")
    common.add_argument("--profile", default="nano", help="panel: another profile, by name or as a .toml file")
    stages = parser.add_subparsers(dest="stage", required=True, metavar="STAGE")
    for stage in (*STAGES, "all", *MEASUREMENTS):
        purpose = _PURPOSES[stage]
        stages.add_parser(
            stage,
            help=purpose,
            description=f"{purpose[0].upper()}{purpose[1:]}.",
            epilog=examples_of(f"emofeedback-train nano {stage}", _EXAMPLES),
            formatter_class=argparse.RawDescriptionHelpFormatter,
            parents=[common],
        ).set_defaults(run=run)
    add_dataset(stages)


def run(arguments: argparse.Namespace) -> None:
    """Makes the stage that the arguments name."""
    if arguments.threads:
        torch.set_num_threads(arguments.threads)
    if arguments.stage in MEASUREMENTS:
        MEASUREMENTS[arguments.stage](arguments)
        return
    first = os.environ.get("RANK", "0") == "0"  # torchrun's other processes work in the folder of the first
    with held(arguments.out) if first else nullcontext():
        for stage in STAGES if arguments.stage == "all" else (arguments.stage,):
            say(f"nano: {stage}")
            STAGES[stage](arguments.out, torch.device(arguments.device), arguments.steps)


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
    generator_parts.export_generator(out / "generator", out / "autoencoder", _SERVICES / "generator")
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

_PURPOSES = {
    "world": "a picture of the world: scenes all over the plane",
    "autoencoder": "between pictures and latents",
    "scenes": "the generator's training data as latents",
    "generator": "from captions to latents",
    "critic": "the independent judge, for tables and never for rewards",
    "witness": "who confirms what the emotional memory keeps: a second network, and never the critic",
    "eyes": "the judge's vision",
    "judge": "the vision-language model that assesses and rewrites",
    "scorer": "how well a picture fits a text",
    "export": "write the trained weights into the packages",
    "judge-grpo": "GRPO of the exported judge on drawn scenes",
    "policy": "the default policy, rewarded by the judge and the scorer",
    "fast": "the same in four steps, without guidance",
    "judge-domain": "what the exported judge takes for a picture of its world",
    "judge-latent": "reasoning tokens for the exported judge",
    "judge-certainty": "how sure the exported judge may be; tells the ECE before and after",
    "fuse": "a policy that paints what the exported judge has in mind",
    "memory": "what words do to pictures, for the loop",
    "all": "everything in this order; every stage resumes where it was cut",
    "evaluate": "how good the exported models are, on scenes never trained on",
    "tokens": "what the judge's reasoning tokens are worth, and what they hold",
    "panel": "whether the loop works: a fixed panel of runs",
    "page": "48 painted pictures beside the scenes that they should show, on one page to look at",
}
