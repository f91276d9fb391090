"""`emofeedback-train flow-grpo`: one training run in a folder."""

from __future__ import annotations

import argparse
import asyncio
import shlex
from collections.abc import Sequence
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console

from emofeedback.cli.parsing import ADDRESSES
from emofeedback.domain.errors import EmoFeedbackError
from emofeedback.domain.training import PanelMeasured
from emofeedback.in_process import silence_libraries
from emofeedback.observability.consoles import PlainConsole
from emofeedback.observability.tracing import attach_parent, export_traces
from emofeedback.profiles.overrides import load_profile, parse_changes
from emofeedback.storage.files import held
from emofeedback_trainer.core.run_command import add_run_options, resume_command
from emofeedback_trainer.core.run_files import read_result
from emofeedback_trainer.core.signals import stop_on_signals
from emofeedback_trainer.core.task import load_task
from emofeedback_trainer.flow_grpo.config import CONFIGS, FlowGrpoConfig, load_config, start_place, with_changes
from emofeedback_trainer.flow_grpo.events import RunEvent
from emofeedback_trainer.flow_grpo.folder import RunFolder
from emofeedback_trainer.flow_grpo.reporting.html import write_report
from emofeedback_trainer.flow_grpo.reporting.terminal import TrainingDisplay

if TYPE_CHECKING:
    from emofeedback_trainer.flow_grpo.trainer import RunResult

_EXAMPLES = """examples:
  emofeedback-train flow-grpo --config nano --out runs/nano
                                        the embedded generator learns from the embedded judge, in this process
  emofeedback-train flow-grpo --out runs/nano --resume
                                        go on where it was cut, with the configuration that it was started with
  emofeedback-train flow-grpo --config nano --set rewards.alignment=0 --set iterations=40 --out runs/no-alignment
  emofeedback-train flow-grpo --address 127.0.0.1:9000 --set policies=s3://bucket/policies --out runs/far
                                        rollouts and rewards from running services, whose generator takes its
                                        policies from there

A configuration file starts from a built-in one and changes some keys:
  extends = "nano"
  iterations = 60
  rewards.shape = "continuous"
  learner.learning_rate = 1e-4
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the options of `emofeedback-train flow-grpo`."""
    parser.description = (
        "Teach the generator to make what a target asks for, rewarded by the judge (Flow-GRPO, or DiffusionNFT as in "
        "the default nano)."
    )
    parser.epilog = _EXAMPLES
    add_run_options(parser, CONFIGS)
    parser.add_argument("--address", help=f"running services, instead of engines in this process: {ADDRESSES}")
    parser.add_argument(
        "--report-to",
        default="tensorboard",
        metavar="TRACKERS",
        help="where curves go: tensorboard, wandb, trackio, mlflow ... (accelerate's trackers), with commas, or none",
    )
    parser.add_argument(
        "--traceparent", default="", help="W3C trace context of whoever asks for the run; its iterations link to it"
    )
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> None:
    """Trains to the end, or until Ctrl-C.

    Raises:
        InvalidRequest: the configuration or the folder is refused, before any model is loaded.
        NotFound: so is the policy that it begins with, where there is none.
        FailedPrecondition: another process works in the folder.
        EmoFeedbackError: the run stopped; its last checkpoint is intact.
        KeyboardInterrupt: as well.
    """
    stop_on_signals()
    export_traces("run")
    attach_parent(arguments.traceparent)
    config, files = _config(arguments), RunFolder(arguments.out)
    if config.start:
        store, name = start_place(config.start)
        store.require(name)
    silence_libraries()
    from emofeedback_trainer.flow_grpo.reporting.trackers import check_trackers
    from emofeedback_trainer.flow_grpo.trainer import prepare

    report_to = [name for name in arguments.report_to.split(",") if name not in ("", "none")]
    check_trackers(report_to)
    prepare(config, files, resume=arguments.resume)
    console = PlainConsole()
    with held(arguments.out):
        files.keep_config(config)
        _say_how_it_goes_on(config, files, console)
        try:
            result = _trained(config, arguments.out, arguments.resume, report_to, console)
            report = write_report(arguments.out)
        except BaseException:
            _say_what_is_kept(files, console)
            raise
    for line in (
        f"Policy: {result.policy} ({result.digest})",
        f"Report: {report}",
        *_how_to_measure(config, result.policy, files),
        f"Finished in {result.seconds / 60:.1f} min.",
    ):
        console.print(line, soft_wrap=True)


def _how_to_measure(config: FlowGrpoConfig, policy: str, files: RunFolder) -> Sequence[str]:
    """The command that measures a finished policy, where somebody independent can look."""
    if not load_task(config.prompts).knows(load_profile(config.profile).generator.checkpoint):
        return ()
    words = ["emofeedback-train", "evaluate", "policy"]
    if config.prompts != "nano":
        words += ["--task", config.prompts]
    if config.profile != "nano":
        words += ["--profile", config.profile]
    words += ["--policy", policy, "--policies", config.policies or files.policies]
    return (f"Measure it: {shlex.join([*words, '--out', str(files.path / 'evaluation')])}",)


def _say_how_it_goes_on(config: FlowGrpoConfig, files: RunFolder, console: Console) -> None:
    """Of a run that had come to its end."""
    done = read_result(files.path)
    if not done:
        return
    if done["iterations"] >= config.iterations:
        line = f"The run has finished all of its {done['iterations']} iterations; `--set iterations=N` goes on to more."
    else:
        line = (
            f"The run was finished after {done['iterations']} iterations, its policy {done['policy']} stays; it goes "
            f"on to {config.iterations}, and the policy that it then leaves has a name of its own."
        )
    console.print(line, soft_wrap=True)


def _say_what_is_kept(files: RunFolder, console: Console) -> None:
    """After a cut: the report of what there is, and how to go on."""
    if not files.checkpoints.exists():
        return
    with suppress(EmoFeedbackError):
        write_report(files.path)
    resume = resume_command("flow-grpo", files.path)
    console.print(f"The run is kept in {files.path}; `{resume}` goes on from its last iteration.", soft_wrap=True)


def _trained(
    config: FlowGrpoConfig, folder: Path, resume: bool, report_to: Sequence[str], console: Console
) -> RunResult:
    from emofeedback_trainer.flow_grpo.components import engines, learner_of, load_panel
    from emofeedback_trainer.flow_grpo.reporting.trackers import Trackers
    from emofeedback_trainer.flow_grpo.trainer import train

    with ExitStack() as stack:
        with console.status("loading the models"):
            learner = stack.enter_context(learner_of(config))
            panel = load_panel(config)
            running = engines(config, config.policies or RunFolder(folder).policies)
        trackers = stack.enter_context(Trackers(folder, run=config.name, every=config.panel.every, names=report_to))
        display = stack.enter_context(TrainingDisplay(console))

        def on_event(event: RunEvent) -> None:
            trackers.show(event)
            display.show(event)
            if isinstance(event, PanelMeasured):
                write_report(folder)

        async def work() -> RunResult:
            async with running as (generator, judge):
                return await train(
                    config,
                    folder,
                    generator=generator,
                    judge=judge,
                    learner=learner,
                    panel=panel,
                    resume=resume,
                    on_event=on_event,
                )

        return asyncio.run(work())


def _config(arguments: argparse.Namespace) -> FlowGrpoConfig:
    """The configuration, with what the command line changes of it."""
    if arguments.config is None and arguments.resume:
        config = RunFolder(arguments.out).config()
    else:
        config = load_config(arguments.config or "nano")
    changes = parse_changes(arguments.set)
    if arguments.address is not None:
        changes["address"] = arguments.address
    return with_changes(config, changes)
