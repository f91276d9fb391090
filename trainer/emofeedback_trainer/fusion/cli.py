"""`emofeedback-train fuse`: a policy that paints from a judge's emotion tokens."""

from __future__ import annotations

import argparse
import shlex
from pathlib import Path

from emofeedback.in_process import silence_libraries
from emofeedback.observability.console import say
from emofeedback.profiles.overrides import parse_changes
from emofeedback_trainer.core.run_files import CONFIG
from emofeedback_trainer.core.signals import stop_on_signals
from emofeedback_trainer.fusion.config import CONFIGS, load_config, with_changes

_EXAMPLES = """examples:
  emofeedback-train fuse --config nano --out runs/fused
                                        the embedded generator learns to read the embedded judge's tokens
  emofeedback-train fuse --out runs/fused --resume
                                        go on where it was cut
  emofeedback-train fuse --config nano --set states=numbers --set name=nano-numbers --out runs/numbers
                                        to compare: the target's two numbers through a small network, without a judge
  emofeedback-train fuse --config sd35-medium --set lessons=lessons.jsonl --out runs/sd35-fused
                                        a full-size checkpoint, from lessons of one's own

The policy lies in OUT/policies. Generators whose `policies` names that folder paint with it; a request with the emotion
tokens of its judge paints what the judge has in mind. With diffusers: load_lora_weights, then
EmotionConnector.from_pretrained of its folder `connector`, then pipeline(prompt_embeds=..., pooled_prompt_embeds=...,
guidance_scale=1, sigmas=...).
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the options of `emofeedback-train fuse`."""
    parser.description = (
        "Make a policy that paints from a judge's emotion tokens, behind a prompt, what another paints from the "
        "feeling in words."
    )
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
    """Fuses to the end, or until Ctrl-C.

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
    from emofeedback_trainer.fusion.run import fuse, prepare

    prepare(config, folder, resume=arguments.resume)
    try:
        result = fuse(config, folder)
    except BaseException:
        if (folder / CONFIG).exists():
            resume = shlex.join(["emofeedback-train", "fuse", "--out", str(folder), "--resume"])
            say(f"The run is kept in {folder}; `{resume}` goes on from its last checkpoint.")
        raise
    say(f"Policy: {result.policy} ({result.digest})")
    say(f"Error on held-out lessons: {result.error:.3f}; without the tokens: {result.without_tokens:.3f}")
    say(f"Pictures: {folder / 'samples.png'}")
