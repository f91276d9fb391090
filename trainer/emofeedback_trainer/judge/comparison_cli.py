"""`emofeedback-train judge-compare`: what each part of the judge's training is worth."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from emofeedback.domain.errors import InvalidRequest
from emofeedback.in_process import silence_libraries
from emofeedback.observability.console import say
from emofeedback.observability.consoles import PlainConsole
from emofeedback.profiles.builtin import NANO_PROFILE
from emofeedback.storage.files import held, json_bytes, write_keeping
from emofeedback_trainer.core.signals import stop_on_signals
from emofeedback_trainer.data.eemodb.question_files import read_questions
from emofeedback_trainer.data.records import Sample
from emofeedback_trainer.data.storage import data_digest, read_split, splits
from emofeedback_trainer.evaluation.provenance import Data, Model, Provenance, this_command
from emofeedback_trainer.judge.command import samples_of
from emofeedback_trainer.judge.config import GRPO_CONFIGS, SFT_CONFIGS, load_config

if TYPE_CHECKING:  # the module imports torch
    from emofeedback_trainer.judge.comparison import Plan

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
  emofeedback-train data build-eemodb runs/eemodb --source built runs/scenes
  emofeedback-train judge-compare --paper eemo-logic --data runs/eemodb --out runs/stages --limit 300
                                        fine-tuning alone, GRPO alone, both, and each task of GRPO added
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the options of `emofeedback-train judge-compare`."""
    parser.description = (
        "Fine-tuning against fine-tuning and GRPO, both tasks against one, step against continuous reward, a smaller "
        "judge against a larger one (EmoFeedback^2); or EEmo-Logic's two stages, alone and together, and each task of "
        "the second: each trained, then measured on the split test."
    )
    parser.epilog = _EXAMPLES
    parser.add_argument("--data", type=Path, required=True, help="data folder with the splits train, val and test")
    parser.add_argument("--out", type=Path, required=True, help="folder of the comparison, with a run in each folder")
    parser.add_argument(
        "--paper",
        choices=("emofeedback", "eemo-logic"),
        default="emofeedback",
        help="whose comparison; eemo-logic's needs the questions of data build-eemodb (default: emofeedback)",
    )
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
    parser.add_argument("--limit", type=int, help="measure on so many test pictures, and questions of a sort, only")
    parser.add_argument("--seed", type=int, default=0, help="of the intervals and of what --limit draws (default: 0)")
    parser.add_argument("--json", action="store_true", help="print JSON instead of the tables")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> None:
    """Trains what isn't trained yet, measures, prints; `table.md` and `figures.json` stay in the folder.

    Raises:
        InvalidRequest: configuration, data or a name are refused, before any model is loaded.
        NotFound: the data has no questions, where they are needed.
        EmoFeedbackError, KeyboardInterrupt: a training stopped; all that was finished is kept.
    """
    sft, grpo = load_config(arguments.sft, SFT_CONFIGS, {}), load_config(arguments.grpo, GRPO_CONFIGS, {})
    train, held_out = samples_of(arguments.data)
    test = _test_pictures(arguments)
    of_stages = arguments.paper == "eemo-logic"
    questions = read_questions(arguments.data, "train") if of_stages else []
    stop_on_signals()
    silence_libraries()
    from emofeedback_trainer.judge.comparison import VARIANTS, Plan
    from emofeedback_trainer.judge.stages import STAGES

    variants = STAGES if of_stages else VARIANTS
    known = [variant.name for variant in variants]
    if unknown := [name for name in arguments.only or () if name not in known]:
        raise InvalidRequest.of("only", f"{unknown[0]!r} is none of {', '.join(known)}")
    plan = Plan(
        folder=arguments.out,
        fine_tuned=NANO_PROFILE.judge.checkpoint if arguments.fine_tuned == "nano" else arguments.fine_tuned,
        sft=sft,
        grpo=grpo,
        small=arguments.small,
        variants=variants,
        train=train,
        questions=questions,
        held_out=held_out,
        test=test[: arguments.limit],
        console=PlainConsole(stderr=True),
    )
    compared = _eemo_logic if of_stages else _emofeedback
    markdown, content = compared(plan, arguments, test)
    write_keeping(arguments.out / "table.md", f"{markdown}\n".encode(errors="backslashreplace"))
    write_keeping(arguments.out / "figures.json", json_bytes(content))
    say(json.dumps(content, indent=2) if arguments.json else markdown)


def _emofeedback(plan: Plan, arguments: argparse.Namespace, test: Sequence[Sample]) -> tuple[str, dict[str, Any]]:
    """Table and JSON."""
    from emofeedback_trainer.judge.comparison import compare
    from emofeedback_trainer.judge.comparison_table import rows, to_json, to_markdown

    for sample in plan.test:
        if sample.valence is None or sample.arousal is None or sample.emotion is None:
            raise InvalidRequest.of(f"test.{sample.id}", "lacks valence, arousal or emotion, which are compared")
    with held(plan.folder):
        measured = compare(plan, _names(plan, arguments))
    table = rows(measured, plan.test, seed=arguments.seed)
    provenance = _provenance(plan, arguments, [one.model for one in measured])
    return to_markdown(table, provenance), to_json(table, provenance)


def _eemo_logic(plan: Plan, arguments: argparse.Namespace, test: Sequence[Sample]) -> tuple[str, dict[str, Any]]:
    """Table and JSON."""
    from emofeedback_trainer.judge.stages import Quiz, compare_stages
    from emofeedback_trainer.judge.stages_table import stage_rows, to_json, to_markdown

    quiz = Quiz.of(test, read_questions(arguments.data, "test"), limit=arguments.limit, seed=arguments.seed)
    with held(plan.folder):
        found = compare_stages(plan, _names(plan, arguments), quiz)
    table = stage_rows(found, quiz, seed=arguments.seed)
    provenance = _provenance(plan, arguments, [one.model for one in found])
    return to_markdown(table, provenance), to_json(table, provenance)


def _names(plan: Plan, arguments: argparse.Namespace) -> Sequence[str]:
    return arguments.only or [variant.name for variant in plan.variants]


def _provenance(plan: Plan, arguments: argparse.Namespace, models: Sequence[Model]) -> Provenance:
    data = Data(name=str(arguments.data), digest=data_digest(arguments.data), n=len(plan.test))
    return Provenance(command=this_command(), seed=arguments.seed, models=tuple(models), data=(data,))


def _test_pictures(arguments: argparse.Namespace) -> list[Sample]:
    if "test" not in splits(arguments.data):
        raise InvalidRequest.of("data", f"{arguments.data} has no split 'test' to measure on")
    if arguments.limit is not None and arguments.limit < 1:
        raise InvalidRequest.of("limit", f"is {arguments.limit}, it must be 1 or more")
    return read_split(arguments.data, "test")
