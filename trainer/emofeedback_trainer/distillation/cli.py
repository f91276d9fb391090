"""`emofeedback-train distill-steps`: a policy that paints in a few steps."""

from __future__ import annotations

import argparse

from emofeedback.generator.preflight import check_policies
from emofeedback.in_process import silence_libraries
from emofeedback.observability.console import say
from emofeedback.profiles.overrides import load_profile, parse_changes
from emofeedback_trainer.core.run_command import add_run_options, config_source, kept_when_cut
from emofeedback_trainer.core.signals import stop_on_signals
from emofeedback_trainer.distillation.config import CONFIGS, load_config, with_changes

_EXAMPLES = """examples:
  emofeedback-train distill-steps --config nano --out runs/fast
                                        what the embedded generator paints by default, in 4 steps without guidance
  emofeedback-train distill-steps --out runs/fast --resume
                                        go on where it was cut
  emofeedback-train distill-steps --config sd35-medium --set policy=base --set trajectories=2000 --out runs/sd35-fast
                                        the same for a full-size checkpoint
  emofeedback-train distill-steps --config sd35-medium --set finish.updates=1000 --set finish.pictures=photographs.jsonl
      --out runs/sd35-real              then beside real pictures, lines of {"caption": "...", "image": "dog.jpg"}

The policy lies in OUT/policies. Generators whose `policies` names that folder paint with it in its own steps, without
guidance, wherever a request names neither. With diffusers: load_lora_weights, then pipeline(..., guidance_scale=1,
sigmas=...) with the levels in its policy.json.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the options of `emofeedback-train distill-steps`."""
    parser.description = "Make a policy that paints in a few steps, without guidance, what another paints in many."
    parser.epilog = _EXAMPLES
    add_run_options(parser, CONFIGS)
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> None:
    """Distills to the end, or until Ctrl-C.

    Raises:
        InvalidRequest: the configuration or the folder is refused, before any model is loaded.
        NotFound: so is the teacher, where the profile's store lacks it.
        EmoFeedbackError: the run stopped; its last checkpoint is intact.
        KeyboardInterrupt: as well.
    """
    stop_on_signals()
    folder = arguments.out
    config = with_changes(load_config(config_source(arguments)), parse_changes(arguments.set))
    check_policies(load_profile(config.profile).generator, [config.policy])
    silence_libraries()
    from emofeedback_trainer.distillation.run import distill, prepare

    prepare(config, folder, resume=arguments.resume)
    with kept_when_cut("distill-steps", folder):
        result = distill(config, folder)
    say(f"Policy: {result.policy} ({result.digest})")
    hasty = f"the teacher in as few steps: {result.teacher_in_as_many_steps:.3f}"
    say(f"Error on held-out prompts: {result.error:.3f}; {hasty}")
    say(f"Pictures: {folder / 'samples.png'}")
