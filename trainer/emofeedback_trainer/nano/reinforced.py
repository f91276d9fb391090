"""What the embedded models learn once they are exported: the judge by GRPO, the generator's policies by its rewards.

Each stage works on the models in the package, goes on where it was cut, and puts what comes of it into the package.
"""

from __future__ import annotations

import argparse
import shutil
from pathlib import Path

from emofeedback.observability.consoles import PlainConsole
from emofeedback_trainer.core.run_files import CONFIG
from emofeedback_trainer.data.build_cli import shown_progress
from emofeedback_trainer.distillation.config import CONFIGS as DISTILLATIONS
from emofeedback_trainer.distillation.run import distill, prepare
from emofeedback_trainer.flow_grpo import cli as flow_grpo
from emofeedback_trainer.fusion.config import CONFIGS as FUSIONS
from emofeedback_trainer.fusion.run import fuse
from emofeedback_trainer.fusion.run import prepare as prepare_fusion
from emofeedback_trainer.judge.command import samples_of
from emofeedback_trainer.judge.config import GRPO_CONFIGS
from emofeedback_trainer.latent.config import load_config as load_latent
from emofeedback_trainer.nano.dataset import SceneData, build_scenes

_SCENES = SceneData(train=6000, val=200, test=1000)
_POLICY = "nano-final"


def reinforce_judge(folder: Path, judge: Path) -> None:
    """Trains the judge in the folder `judge` by GRPO on drawn scenes, and puts its weights in place of the others."""
    from emofeedback_trainer.judge.grpo import train_grpo

    data, out = folder / "data", folder / "run"
    with shown_progress() as show:
        build_scenes(data, _SCENES, show)
    train, held_out = samples_of(data)
    resume = (out / CONFIG).exists()
    console = PlainConsole()
    trained = train_grpo(GRPO_CONFIGS["nano"], out, train=train, held_out=held_out, resume=resume, console=console)
    shutil.copy2(trained.checkpoint / "model.safetensors", judge / "model.safetensors")


def teach_tokens(folder: Path, judge: Path, steps: int | None) -> None:
    """Trains reasoning tokens into the judge in the folder `judge`, and puts its weights and its tokenizer in place of
    the others; what it takes for a picture of its world stays, since its eyes do."""
    from emofeedback_trainer.latent.run import train

    trained = train(load_latent("nano", {"steps": steps} if steps else {}), folder)
    for file in trained.checkpoint.iterdir():
        shutil.copy2(file, judge / file.name)


def reinforce_generator(folder: Path, policies: Path) -> None:
    """Trains the default policy by `flow-grpo --config nano`."""
    parser = argparse.ArgumentParser()
    flow_grpo.add_arguments(parser)
    resume = ["--resume"] if (folder / CONFIG).exists() else []
    flow_grpo.run(parser.parse_args(["--out", str(folder), "--report-to", "none", *resume]))
    _put(folder / "policies" / _POLICY, policies)


def distill_generator(folder: Path, policies: Path) -> None:
    """Distills the default policy by `distill-steps --config nano`."""
    config = DISTILLATIONS["nano"]
    prepare(config, folder, resume=(folder / CONFIG).exists())
    result = distill(config, folder)
    _put(folder / "policies" / result.policy, policies)


def fuse_generator(folder: Path, policies: Path) -> None:
    """Teaches the default policy to read the judge's emotion tokens, by `fuse --config nano`."""
    config = FUSIONS["nano"]
    prepare_fusion(config, folder, resume=(folder / CONFIG).exists())
    result = fuse(config, folder)
    _put(folder / "policies" / result.policy, policies)


def _put(policy: Path, policies: Path) -> None:
    shutil.rmtree(policies / policy.name, ignore_errors=True)
    shutil.copytree(policy, policies / policy.name)
