"""`emofeedback-train fuse`: a policy that paints from a judge's emotion tokens."""

from __future__ import annotations

import argparse

from emofeedback.generator.preflight import check_policies
from emofeedback.in_process import silence_libraries
from emofeedback.observability.console import say
from emofeedback.profiles.overrides import load_profile, parse_changes
from emofeedback_trainer.core.run_command import add_run_options, config_source, kept_when_cut
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
EmotionConnector.from_pretrained (emofeedback.generator.connector) of its folder `connector`, whose rows go behind
prompt_embeds and whose change is added to pooled_prompt_embeds; then pipeline(..., guidance_scale=1, sigmas=...).
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the options of `emofeedback-train fuse`."""
    parser.description = (
        "Make a policy that paints from a judge's emotion tokens, behind a prompt, what another paints from the "
        "feeling in words."
    )
    parser.epilog = _EXAMPLES
    add_run_options(parser, CONFIGS)
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> None:
    """Fuses to the end, or until Ctrl-C.

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
    from emofeedback_trainer.fusion.run import fuse, prepare

    prepare(config, folder, resume=arguments.resume)
    with kept_when_cut("fuse", folder):
        result = fuse(config, folder)
    say(f"Policy: {result.policy} ({result.digest})")
    say(f"Error on held-out lessons: {result.error:.3f}; without the tokens: {result.without_tokens:.3f}")
    say(f"Pictures: {folder / 'samples.png'}")
