"""`emofeedback-train judge-compare`: what each part of the judge's training is worth."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from emofeedback.domain.errors import InvalidRequest
from emofeedback.in_process import silence_libraries
from emofeedback.observability.console import say
from emofeedback.observability.consoles import PlainConsole
from emofeedback.profiles.builtin import NANO_PROFILE
from emofeedback.storage.files import held, json_bytes, write_keeping
from emofeedback_trainer.core.signals import stop_on_signals
from emofeedback_trainer.data.records import Sample
from emofeedback_trainer.data.storage import data_digest, read_split, splits
from emofeedback_trainer.evaluation.provenance import Data, Provenance, this_command
from emofeedback_trainer.judge.command import samples_of
from emofeedback_trainer.judge.config import GRPO_CONFIGS, SFT_CONFIGS, load_config

_EXAMPLES = """examples:
  emofeedback-train nano dataset runs/scenes
  emofeedback-train judge-compare --data runs/scenes --out runs/comparison
                                        everything, in one table; begun again, it goes on where it was cut
  emofeedback-train judge-compare --data runs/scenes --out runs/comparison --only joint regression
                                        these, and the fine-tuned judge that they begin with
  emofeedback-train judge-compare --data runs/scenes --out runs/comparison --fine-tuned nano
                                        the embedded judge has had its lessons: GRPO begins with it as it is
  emofeedback-train judge-compare --sft qwen2.5-vl-7b --grpo qwen2.5-vl-7b --small Qwen/Qwen2.5-VL-3B-Instruct \\
      --data runs/emoset --out runs/large
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the options of `emofeedback-train judge-compare`."""
    parser.description = (
        "Fine-tuning against fine-tuning and GRPO, both tasks against one, step against continuous reward, a smaller "
        "judge against a larger one: each trained, then measured on the split test."
    )
    parser.epilog = _EXAMPLES
    parser.add_argument("--data", type=Path, required=True, help="data folder with the splits train, val and test")
    parser.add_argument("--out", type=Path, required=True, help="folder of the comparison, with a run in each folder")
    parser.add_argument("--only", nargs="+", metavar="VARIANT", help="these variants (default: all)")
    parser.add_argument("--sft", default="nano", help="configuration of judge-sft: a built-in one or a .toml file")
    parser.add_argument("--grpo", default="nano", help="configuration of judge-grpo, likewise")
    parser.add_argument(
        "--fine-tuned",
        default="",
        metavar="JUDGE",
        help="a judge that is fine-tuned already, `nano` for the embedded one (default: fine-tune one first)",
    )
    parser.add_argument("--small", default="", help="the smaller judge (default: the larger with half its text layers)")
    parser.add_argument("--limit", type=int, help="measure on so many test pictures only")
    parser.add_argument("--seed", type=int, default=0, help="of the intervals (default: 0)")
    parser.add_argument("--json", action="store_true", help="print JSON instead of the tables")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> None:
    """Trains what isn't trained yet, measures, prints; `table.md` and `figures.json` stay in the folder.

    Raises:
        InvalidRequest: configuration, data or a name are refused, before any model is loaded.
        EmoFeedbackError, KeyboardInterrupt: a training stopped; all that was finished is kept.
    """
    sft, grpo = load_config(arguments.sft, SFT_CONFIGS, {}), load_config(arguments.grpo, GRPO_CONFIGS, {})
    train, held_out = samples_of(arguments.data)
    test = _test_pictures(arguments.data)[: arguments.limit]
    stop_on_signals()
    silence_libraries()
    from emofeedback_trainer.judge.comparison import VARIANTS, Plan, compare
    from emofeedback_trainer.judge.comparison_table import rows, to_json, to_markdown

    known = [variant.name for variant in VARIANTS]
    if unknown := [name for name in arguments.only or () if name not in known]:
        raise InvalidRequest.of("only", f"{unknown[0]!r} is none of {', '.join(known)}")
    plan = Plan(
        folder=arguments.out,
        fine_tuned=NANO_PROFILE.judge.checkpoint if arguments.fine_tuned == "nano" else arguments.fine_tuned,
        sft=sft,
        grpo=grpo,
        small=arguments.small,
        train=train,
        held_out=held_out,
        test=test,
        console=PlainConsole(stderr=True),
    )
    with held(arguments.out):
        measured = compare(plan, arguments.only or known)
    table = rows(measured, test, seed=arguments.seed)
    provenance = Provenance(
        command=this_command(),
        seed=arguments.seed,
        models=tuple(one.model for one in measured),
        data=(Data(name=str(arguments.data), digest=data_digest(arguments.data), n=len(test)),),
    )
    markdown, content = to_markdown(table, provenance), to_json(table, provenance)
    write_keeping(arguments.out / "table.md", f"{markdown}\n".encode(errors="backslashreplace"))
    write_keeping(arguments.out / "figures.json", json_bytes(content))
    say(json.dumps(content, indent=2) if arguments.json else markdown)


def _test_pictures(data: Path) -> list[Sample]:
    if "test" not in splits(data):
        raise InvalidRequest.of("data", f"{data} has no split 'test' to measure on")
    test = read_split(data, "test")
    for sample in test:
        if sample.valence is None or sample.arousal is None or sample.emotion is None:
            raise InvalidRequest.of(f"test.{sample.id}", "lacks valence, arousal or emotion, which are compared")
    return test
