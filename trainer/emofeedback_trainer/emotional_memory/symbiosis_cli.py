"""`emofeedback-train symbiosis`: rounds of understanding and painting, each beside its controls."""

from __future__ import annotations

import argparse
from dataclasses import asdict
from pathlib import Path

from emofeedback.generator.preflight import check_policies
from emofeedback.in_process import silence_libraries
from emofeedback.observability.console import say
from emofeedback.profiles.overrides import changed, extended, load_profile, parse_changes
from emofeedback.storage.files import held, write_json, write_whole
from emofeedback_trainer.core.task import load_task
from emofeedback_trainer.data.build_cli import shown_progress
from emofeedback_trainer.emotional_memory.controls import ARMS
from emofeedback_trainer.emotional_memory.refresh_config import REFRESH_CONFIGS, RefreshConfig
from emofeedback_trainer.emotional_memory.symbiosis import Paint, Symbiosis, run_rounds
from emofeedback_trainer.emotional_memory.symbiosis_report import draw_rounds, rounds_table, verdict
from emofeedback_trainer.emotional_memory.witness import WITNESSES, load_witness
from emofeedback_trainer.fusion.config import CONFIGS, load_config

_EXAMPLES = """examples:
  emofeedback-train nano dataset runs/scenes
  emofeedback-train symbiosis --data runs/scenes --policy nano-final --unseen nano-fast --out runs/symbiosis
                                        three rounds on the embedded models; begun again, it goes on where it was cut
  emofeedback-train symbiosis --data runs/scenes --policy nano-final --unseen nano-fast --out runs/quick \\
      --rounds 1 --twins 256 --arm memory --arm alone --set steps=60
  emofeedback-train symbiosis --data runs/scenes --policy nano-final --unseen nano-fast --out runs/both --fuse nano
                                        and back: a policy is made of each judge, which needs reasoning tokens
  emofeedback-train symbiosis --config qwen2.5-vl-7b --profile sd35-medium --data runs/emoset --policy emo-2 \\
      --unseen emo-1 --witness my.module:load_witness --out runs/symbiosis
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the options of `emofeedback-train symbiosis`."""
    parser.description = (
        "Do understanding and painting make each other better? Policies paint into an emotional memory, the judge is "
        "refreshed from it, and every step stands beside its controls: one table, one picture, one sentence."
    )
    parser.epilog = _EXAMPLES
    defaults = Symbiosis(data=Path(), policies=("a",), unseen="b", refresh=REFRESH_CONFIGS["nano"])
    parser.add_argument("--data", type=Path, required=True, help="data folder with the splits train and val")
    parser.add_argument("--out", type=Path, required=True, help="folder of the rounds; cut ones go on")
    parser.add_argument("--policy", action="append", required=True, help="who paints; give it again for more")
    parser.add_argument("--unseen", required=True, help="a policy whose pictures no judge learns from")
    parser.add_argument("--rounds", type=int, default=defaults.rounds, help=f"how many (default: {defaults.rounds})")
    parser.add_argument(
        "--twins", type=int, default=defaults.twins, help=f"captions a policy and round (default: {defaults.twins})"
    )
    parser.add_argument(
        "--held-out", type=int, default=defaults.held_out, help=f"the same of val, once (default: {defaults.held_out})"
    )
    parser.add_argument(
        "--arm",
        action="append",
        choices=[arm.name for arm in ARMS],
        help="which ways are tried (default: all): " + "; ".join(f"{arm.name}: {arm.what}" for arm in ARMS),
    )
    parser.add_argument("--seed", type=int, default=defaults.seed, help="another seed, other pictures")
    parser.add_argument("--profile", default="nano", help="a built-in profile or a .toml file (default: nano)")
    parser.add_argument(
        "--witness",
        default="nano",
        help=f"who confirms the labels: {', '.join(WITNESSES)}, or module:function (default: nano)",
    )
    parser.add_argument(
        "--fuse",
        metavar="CONFIG",
        help=f"also make a policy of each judge by `fuse`: {', '.join(CONFIGS)}, or a .toml file (default: not tried)",
    )
    parser.add_argument(
        "--task",
        default="nano",
        help="with --fuse, what these policies are measured on, as in `flow-grpo` (default: nano)",
    )
    parser.add_argument(
        "--config",
        default="nano",
        help=f"of the refresh: {', '.join(REFRESH_CONFIGS)}, or a .toml file (default: nano)",
    )
    parser.add_argument(
        "--set", action="append", default=[], metavar="KEY=VALUE", help="change one key of the refresh's configuration"
    )
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> None:
    """Runs the rounds and tells what they came to.

    Raises:
        InvalidRequest: a bad option or key.
        EmoFeedbackError: as `run_rounds`.
    """
    base, written = extended(arguments.config, REFRESH_CONFIGS, "config")
    config: RefreshConfig = changed(base, {**written, **parse_changes(arguments.set)})
    plan = Symbiosis(
        data=arguments.data,
        policies=tuple(arguments.policy),
        unseen=arguments.unseen,
        refresh=config,
        rounds=arguments.rounds,
        twins=arguments.twins,
        held_out=arguments.held_out,
        arms=tuple(arguments.arm or [arm.name for arm in ARMS]),
        seed=arguments.seed,
    )
    profile = load_profile(arguments.profile)
    check_policies(profile.generator, (*plan.policies, plan.unseen))
    witness = load_witness(arguments.witness)
    fusion = load_config(arguments.fuse) if arguments.fuse else None
    silence_libraries()
    with held(arguments.out), shown_progress() as show:
        paint: Paint | None = None
        if fusion is not None:
            from emofeedback_trainer.emotional_memory.fused_painting import FusedPainter, with_own_store

            profile = with_own_store(profile, (*plan.policies, plan.unseen), arguments.out / "policies")
            paint = FusedPainter(fusion, profile, teacher=plan.policies[0], task=load_task(arguments.task))
        rounds = run_rounds(plan, arguments.out, profile, witness=witness, show=show, paint=paint)
        text = f"{rounds_table(rounds)}\n\n{verdict(rounds)}\n"
        write_json(arguments.out / "rounds.json", [asdict(one) for one in rounds])
        write_whole(arguments.out / "table.md", text.encode())
        write_whole(arguments.out / "rounds.png", draw_rounds(rounds))
    say(text)
    say(f"picture: {arguments.out / 'rounds.png'}")
