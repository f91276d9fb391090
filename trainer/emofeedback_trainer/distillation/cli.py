"""`emofeedback-train distill-steps`: a policy that paints in a few steps."""

from __future__ import annotations

import argparse
import shlex
from pathlib import Path

from emofeedback.in_process import silence_libraries
from emofeedback.observability.console import say
from emofeedback.profiles.overrides import parse_changes
from emofeedback_trainer.core.run_files import CONFIG
from emofeedback_trainer.core.signals import stop_on_signals
from emofeedback_trainer.distillation.config import CONFIGS, load_config, with_changes

_EXAMPLES = """examples:
  emofeedback-train distill-steps --config nano --out runs/fast
                                        what the embedded generator paints by default, in 4 steps without guidance
  emofeedback-train distill-steps --out runs/fast --resume
                                        go on where it was cut
  emofeedback-train distill-steps --config sd35-medium --set policy=base --set trajectories=2000 --out runs/sd35-fast
                                        the same for a full-size checkpoint

The policy lies in OUT/policies. Generators whose `policies` names that folder paint with it in its own steps, without
guidance, wherever a request names neither. With diffusers: load_lora_weights, then pipeline(..., guidance_scale=1,
sigmas=...) with the levels in its policy.json.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the options of `emofeedback-train distill-steps`."""
    parser.description = "Make a policy that paints in a few steps, without guidance, what another paints in many."
    parser.epilog = _EXAMPLES
    parser.add_argument(
        "--config", help=f"a built-in configuration ({', '.join(CONFIGS)}) or a .toml file; default: nano"
    )
    parser.add_argument("--out", type=Path, required=True, help="folder of the run")
    parser.add_argument("--resume", action="store_true", help="go on with the run in --out")
    parser.add_argument(
        "--set", action="append", default=[], metavar="KEY=VALUE", help="change one key of the configuration"
    )
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> None:
    """Distills to the end, or until Ctrl-C.

    Raises:
        InvalidRequest: the configuration or the folder is refused, before any model is loaded.
        EmoFeedbackError: the run stopped; its last checkpoint is intact.
        KeyboardInterrupt: as well.
    """
    stop_on_signals()
    folder = arguments.out
    begun = arguments.config is None and arguments.resume and (folder / CONFIG).exists()
    config = load_config(str(folder / CONFIG) if begun else arguments.config or "nano")
    config = with_changes(config, parse_changes(arguments.set))
    silence_libraries()
    from emofeedback_trainer.distillation.run import distill, prepare

    prepare(config, folder, resume=arguments.resume)
    try:
        result = distill(config, folder)
    except BaseException:
        if (folder / CONFIG).exists():
            resume = shlex.join(["emofeedback-train", "distill-steps", "--out", str(folder), "--resume"])
            say(f"The run is kept in {folder}; `{resume}` goes on from its last checkpoint.")
        raise
    say(f"Policy: {result.policy} ({result.digest})")
    hasty = f"the teacher in as few steps: {result.teacher_in_as_many_steps:.3f}"
    say(f"Error on held-out prompts: {result.error:.3f}; {hasty}")
    say(f"Pictures: {folder / 'samples.png'}")
