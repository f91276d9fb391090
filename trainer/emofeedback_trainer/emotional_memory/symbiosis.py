"""Do understanding and painting make each other better? Rounds of both, each beside its controls.

A round: the policies in use paint into the memory; each arm's judge is refreshed by the same steps (`controls.ARMS`);
the judges are measured on real pictures, on twins by a policy that painted what was learned from, and on twins by one
that never did; where a painter is given, a policy is made of the refreshed judge, and one of the judge that was
refreshed alone, and both are measured.

    DIR/memory, DIR/unseen, DIR/rollouts   memories
    DIR/round-1/<arm>/                     a refresh; `unseen.json` beside it
    DIR/round-1/painted-<arm>.json         what the policy made of the arm's judge comes to
    DIR/rounds.json, table.md, rounds.png  what came of it

Everything is found again where a run was cut.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from emofeedback.domain.affect import AffectPoint
from emofeedback.domain.errors import InvalidRequest
from emofeedback.profiles.profile import Profile
from emofeedback.storage.files import write_json
from emofeedback_trainer.data.records import Sample
from emofeedback_trainer.data.storage import read_split
from emofeedback_trainer.emotional_memory.alarms import Drift, drift
from emofeedback_trainer.emotional_memory.controls import (
    ARMS,
    Arm,
    ArmName,
    config_of,
    fill_with_rollouts,
    under_own_labels,
)
from emofeedback_trainer.emotional_memory.entries import Known, as_sample
from emofeedback_trainer.emotional_memory.filling import Filling, Show, fill
from emofeedback_trainer.emotional_memory.measuring import Array, labels_of, misses, readings
from emofeedback_trainer.emotional_memory.refresh_config import RefreshConfig
from emofeedback_trainer.emotional_memory.store import Memory, picture_of
from emofeedback_trainer.emotional_memory.witness import Witness
from emofeedback_trainer.evaluation.output import with_engines

SEEN, UNSEEN, REAL = "twins by a policy learned from", "twins by a policy never seen", "real pictures"
"""What judges are measured on."""


@dataclass(frozen=True, kw_only=True)
class Symbiosis:
    """What to try."""

    data: Path
    """Data folder with the splits `train` and `val`."""
    policies: tuple[str, ...]
    """Who paints from the first round on."""
    unseen: str
    """A policy whose pictures no judge learns from."""
    refresh: RefreshConfig
    rounds: int = 3
    twins: int = 512
    """Captions that each policy paints a round."""
    held_out: int = 128
    """The same of the split `val`, once."""
    arms: tuple[ArmName, ...] = tuple(arm.name for arm in ARMS)
    """Which ways are tried; `memory` and `alone` always."""
    seed: int = 0

    def __post_init__(self) -> None:
        """Raises InvalidRequest for values out of their ranges."""
        if self.rounds < 1:
            raise InvalidRequest.of("rounds", f"is {self.rounds}, it must be 1 or more")
        if self.unseen in self.policies:
            raise InvalidRequest.of("unseen", f"is {self.unseen!r}, whose pictures are learned from: name another")
        if not {"memory", "alone"} <= set(self.arms):
            raise InvalidRequest.of("arms", "must have memory and alone: one is what is tried, the other its control")


@dataclass(frozen=True, kw_only=True)
class Painting:
    """What a policy that was made of a judge comes to."""

    policy: str
    """Its name in the profile's store."""
    errors: tuple[float, ...]
    """|dV| + |dA| of each held-out pair by the independent judge, in the pairs' order."""


Paint = Callable[[str, Path], Painting]
"""Makes a policy of a judge's checkpoint in a folder, publishes and measures it."""


@dataclass(frozen=True, kw_only=True)
class ArmResult:
    """One arm of one round."""

    arm: str
    kept: bool
    """By the rule of `refresh.is_kept`; where not, the next round begins with the judge before."""
    errors: dict[str, list[float]]
    """Of each held-out picture, by what it is measured on; in points, mean of both axes."""
    before: dict[str, list[float]]
    """The same of the judge that the round began with."""
    drift: Drift | None
    """How the refreshed judge reads the twins of a seen policy beside the witness."""
    painting: Painting | None = None


@dataclass(frozen=True, kw_only=True)
class Round:
    """One round."""

    number: int
    learned_from: int
    """Twins in the memory."""
    arms: tuple[ArmResult, ...]


@dataclass
class _Chain:
    """A judge on its way through the rounds."""

    arm: Arm
    checkpoint: str


def run_rounds(
    plan: Symbiosis, folder: Path, profile: Profile, *, witness: Witness, show: Show, paint: Paint | None = None
) -> list[Round]:
    """All rounds, those that are done from their files.

    Args:
        paint: the way back from understanding to painting; None: it is not tried.

    Raises:
        EmoFeedbackError: as `filling.fill`, `refresh` and `paint`; what was finished is kept.
    """
    chains = [_Chain(arm=arm, checkpoint=plan.refresh.model.checkpoint) for arm in ARMS if arm.name in plan.arms]
    unseen = _filled(plan, folder / "unseen", profile, (plan.unseen,), 0, witness, show)
    policies = list(plan.policies)
    done: list[Round] = []
    for number in range(1, plan.rounds + 1):
        place = folder / f"round-{number}"
        judged_by = replace(profile, judge=replace(profile.judge, checkpoint=chains[0].checkpoint))
        memory = _filled(plan, folder / "memory", judged_by, tuple(policies), number * plan.twins, witness, show)
        results = []
        for chain in chains:
            pictures = _pictures(plan, folder, judged_by, chain.arm, memory, policies, number, witness, show)
            results.append(_refreshed(plan, place, chain, pictures, memory, unseen, show))
        if paint is not None:
            results = [_painted(place, result, chain, paint) for result, chain in zip(results, chains, strict=True)]
            policies += [one.painting.policy for one in results if one.arm == "memory" and one.painting]
        done.append(Round(number=number, learned_from=_learned_from(place, memory), arms=tuple(results)))
    return done


def _filled(
    plan: Symbiosis,
    folder: Path,
    profile: Profile,
    policies: tuple[str, ...],
    twins: int,
    witness: Witness,
    show: Show,
) -> Memory:
    filling = Filling(
        data=plan.data,
        policies=policies,
        twins=twins,
        held_out=plan.held_out,
        seed=plan.seed,
        label_sd=plan.refresh.label_sd,
    )
    return with_engines(
        profile,
        lambda generator, judge: fill(
            str(folder), filling, profile, generator=generator, judge=judge, witness=witness, show=show
        ),
    )


def _pictures(
    plan: Symbiosis,
    folder: Path,
    profile: Profile,
    arm: Arm,
    memory: Memory,
    policies: Sequence[str],
    number: int,
    witness: Witness,
    show: Show,
) -> list[Known]:
    """What an arm learns from besides the real data."""
    match arm.name:
        case "alone":
            return []
        case "memory":
            return known(memory, "train")
        case "own labels":
            return known(replace(memory, entries=tuple(under_own_labels(memory.of("train")))), "train")
        case "published":
            rollouts = with_engines(
                profile,
                lambda generator, judge: fill_with_rollouts(
                    str(folder / "rollouts"),
                    plan.data,
                    policies[0],
                    profile,
                    count=number * plan.twins,
                    seed=plan.seed,
                    generator=generator,
                    judge=judge,
                    witness=witness,
                    show=show,
                ),
            )
            return known(rollouts, "train")


def known(memory: Memory, split: str) -> list[Known]:
    """A memory's pictures as a refresh takes them.

    Raises:
        FailedPrecondition: a picture is missing or damaged.
    """
    return [Known(sample=as_sample(entry, picture_of(memory, entry)), sd=entry.label_sd) for entry in memory.of(split)]


def _refreshed(
    plan: Symbiosis,
    place: Path,
    chain: _Chain,
    pictures: Sequence[Known],
    memory: Memory,
    unseen: Memory,
    show: Show,
) -> ArmResult:
    """Refreshes the chain's judge and measures it; a memory's judge goes on only where it is kept, a control's always:
    it is there to be compared after the same steps."""
    from emofeedback_trainer.emotional_memory.refresh import refresh

    folder = place / chain.arm.name.replace(" ", "-")
    before = chain.checkpoint
    painted = [one.sample for one in known(memory, "val")]
    result = refresh(
        config_of(chain.arm, plan.refresh, before),
        folder,
        real=read_split(plan.data, "train"),
        memory=pictures,
        held_out=read_split(plan.data, "val"),
        held_out_painted=painted,
        show=lambda _, step, steps: show(f"{place.name}, {chain.arm.name}", step, steps),
    )
    said = json.loads((folder / "readings.json").read_text(encoding="utf-8"))
    if result.kept or chain.arm.name != "memory":
        chain.checkpoint = str(result.checkpoint)
    strangers = [one.sample for one in known(unseen, "val")][: plan.refresh.measured]
    apart = _cached(
        folder / "unseen.json",
        lambda: {
            who: readings(str(checkpoint), strangers, plan.refresh.model).tolist()
            for who, checkpoint in (("before", before), ("after", result.checkpoint))
        },
    )
    truths = {
        REAL: _labels(read_split(plan.data, "val"), said["real"]["ids"]),
        SEEN: _labels(painted, said["painted"]["ids"]),
        UNSEEN: labels_of(strangers),
    }
    read = {REAL: said["real"], SEEN: said["painted"], UNSEEN: apart}
    return ArmResult(
        arm=chain.arm.name,
        kept=result.kept,
        errors={name: _misses(read[name]["after"], truth) for name, truth in truths.items()},
        before={name: _misses(read[name]["before"], truth) for name, truth in truths.items()},
        drift=_drift(memory, said["painted"]["ids"], said["painted"]["after"]),
    )


def _painted(place: Path, result: ArmResult, chain: _Chain, paint: Paint) -> ArmResult:
    """A policy of the memory's judge, and one of the judge that was refreshed alone: the same connector and steps."""
    if result.arm not in ("memory", "alone"):
        return result
    folder = place / f"painted-{result.arm}"
    content = _cached(folder.with_suffix(".json"), lambda: vars(paint(chain.checkpoint, folder)))
    return replace(result, painting=Painting(policy=content["policy"], errors=tuple(content["errors"])))


def _learned_from(place: Path, memory: Memory) -> int:
    """Told by the round's file: a memory that later rounds have painted into holds more by now."""
    content = _cached(place / "memory.json", lambda: {"learned_from": len(memory.of("train"))})
    count: int = content["learned_from"]
    return count


def _cached(path: Path, make: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    if not path.exists():
        write_json(path, make())
    content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return content


def _labels(samples: Sequence[Sample], ids: Sequence[str]) -> Array:
    by_id = {sample.id: sample for sample in samples}
    return labels_of([by_id[name] for name in ids])


def _misses(read: Sequence[Sequence[float]], truth: Array) -> list[float]:
    values: list[float] = misses(np.array(read, np.float64), truth).tolist()
    return values


def _drift(memory: Memory, ids: Sequence[str], read: Sequence[Sequence[float]]) -> Drift | None:
    """Of the entries as this judge reads them; those that it can't read are left out."""
    by_digest = {entry.sha256: entry for entry in memory.of("val")}
    pairs = zip(ids, read, strict=True)
    entries = [
        replace(by_digest[name], judged=AffectPoint(*point)) for name, point in pairs if np.isfinite(point).all()
    ]
    return drift(entries)
