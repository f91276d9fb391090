"""`emofeedback-train fuse-evaluate`: what a fused policy's tokens are worth, beside all that it has to beat."""

from __future__ import annotations

import argparse
from contextlib import nullcontext
from pathlib import Path

from emofeedback.domain.errors import InvalidRequest
from emofeedback.domain.limits import BASE_POLICY
from emofeedback.generator.preflight import check_policies
from emofeedback.in_process import silence_libraries
from emofeedback.profiles.overrides import load_profile
from emofeedback.storage.files import held, write_keeping
from emofeedback_trainer.core.task import load_task
from emofeedback_trainer.evaluation.going_on import KeptPictures, claim, of_profile
from emofeedback_trainer.evaluation.output import add_output_options, present
from emofeedback_trainer.evaluation.provenance import (
    Data,
    Model,
    Provenance,
    digests,
    plain,
    policy_digest,
    this_command,
)

_EXAMPLES = """examples:
  emofeedback-train fuse-evaluate --policy nano-fused
                                        the embedded one
  emofeedback-train fuse-evaluate --run runs/fused --numbers runs/numbers --out runs/fused/evaluation
                                        a new one, and beside it the one without a judge; the same command goes on where
                                        it was cut
  emofeedback-train fuse-evaluate --run runs/fused --task nano-fresh --json
                                        on pairs that nothing was ever tried on
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the options of `emofeedback-train fuse-evaluate`."""
    parser.description = (
        "Measure a fused policy in one pass on a task's held-out pairs: with imagined tokens, with those of a picture, "
        "with another pair's and with none, beside the base and the released policy with the target's numbers in the "
        "prompt, the target's numbers through a network, and the imagination in words. Keeps table.md, "
        "metrics.json, pictures.png and the pictures, from which a cut measurement goes on."
    )
    parser.epilog = _EXAMPLES
    which = parser.add_mutually_exclusive_group()
    which.add_argument("--run", dest="fused", type=Path, help="folder of a fusion")
    which.add_argument("--policy", help="name of a fused policy in the profile's store; default: the profile's own")
    parser.add_argument("--numbers", type=Path, help='folder of a fusion with states = "numbers", to compare')
    parser.add_argument("--released", help="the policy to beat, in the profile's store; default: the profile's own")
    parser.add_argument("--profile", default="nano", help="a built-in profile or a .toml file (default: nano)")
    parser.add_argument("--task", default="nano", help="whose held-out pairs are asked for (default: nano)")
    add_output_options(parser)
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> None:
    """Measures and prints.

    Raises:
        InvalidRequest: no such profile or task, or a task without an independent judge; or the folder's measurement was
            begun otherwise.
        EmoFeedbackError: a policy or the judge can't be had, or they do not fit; or a file can't be written.
    """
    with held(arguments.out) if arguments.out else nullcontext():
        _run(arguments)


def _run(arguments: argparse.Namespace) -> None:
    if arguments.limit is not None and arguments.limit < 2:
        raise InvalidRequest.of("limit", f"is {arguments.limit}, it must be 2 or more")
    profile = load_profile(arguments.profile)
    named = [arguments.released] if arguments.fused else [arguments.policy, arguments.released]
    check_policies(profile.generator, [name or "" for name in named])
    task = load_task(arguments.task)
    pairs = task.evaluation[: arguments.limit]
    independent = task.independent(profile.generator.checkpoint)
    if independent is None:
        raise InvalidRequest.of("task", f"{arguments.task!r} has no independent judge of this generator's pictures")
    silence_libraries()
    from emofeedback_trainer.fusion import evaluation
    from emofeedback_trainer.fusion.evaluation_run import IMAGES, FusedPolicy, paint_all
    from emofeedback_trainer.fusion.states import JudgeReasoner

    own = profile.generator
    fused = (
        FusedPolicy.of_run(arguments.fused)
        if arguments.fused
        else FusedPolicy.found(own.policies, arguments.policy or own.policy)
    )
    released = arguments.released or own.policy
    models = (
        Model(role="fused policy", name=fused.name, digest=fused.digest),
        Model.of("judge", fused.fusion.judge),
        Model.of("independent judge", independent.info),
    )
    data = Data.of_pairs(task.name, pairs)
    others = {"released": policy_digest(released or BASE_POLICY, own), "data": data.digest}
    if arguments.numbers:
        others["numbers"] = FusedPolicy.of_run(arguments.numbers).digest
    claim(
        arguments.out,
        {
            **of_profile(profile),
            "task": task.name,
            "limit": arguments.limit,
            "digest": digests(models, **others),
        },
    )
    groups = paint_all(
        pairs,
        profile,
        fused,
        released=released,
        tell=task.tell,
        numbers=arguments.numbers,
        load_judge=JudgeReasoner,
        kept=KeptPictures(arguments.out),
    )
    painted = {way: evaluation.seen(pairs, some, independent) for way, some in groups.items()}
    rows = evaluation.compare(painted, seed=arguments.seed)
    provenance = Provenance(
        command=this_command(),
        seed=arguments.seed,
        models=models,
        data=(data,),
    )
    if arguments.out:
        write_keeping(arguments.out / "pictures.png", evaluation.picture_grid(groups))
    note = f"{IMAGES} pictures a pair in one pass; feelings and subjects as the independent judge sees them."
    present(
        arguments,
        content=plain({"ways": rows, "images": IMAGES, "provenance": provenance}),
        table="\n".join([evaluation.markdown(rows), "", note, "", provenance.to_markdown()]),
    )
