"""The way back from understanding to painting: a policy that paints from a judge's emotion tokens, and its error.

Each judge gets a policy of its own by the same configuration; what the pictures make people feel is told by the task's
independent judge, which has no part in any of it.
"""

from __future__ import annotations

import asyncio
import io
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from PIL import Image

from emofeedback.domain.affect import AffectPoint, distance
from emofeedback.domain.errors import InvalidRequest
from emofeedback.domain.generation import GeneratedImage, GenerationRequest, Generator
from emofeedback.domain.limits import BASE_POLICY
from emofeedback.domain.reasoning import EmotionTokens
from emofeedback.generator.policy_store import PolicyStore
from emofeedback.profiles.overrides import to_toml
from emofeedback.profiles.profile import Profile
from emofeedback.storage.files import write_whole
from emofeedback.storage.fsspec_store import opened
from emofeedback_trainer.core.pairs import Pair
from emofeedback_trainer.core.run_files import CONFIG
from emofeedback_trainer.core.task import Task
from emofeedback_trainer.emotional_memory.symbiosis import Painting
from emofeedback_trainer.evaluation.observations import seeds_of
from emofeedback_trainer.evaluation.output import with_engines
from emofeedback_trainer.fusion.config import FusionConfig
from emofeedback_trainer.fusion.evaluation_run import IMAGES, FusedPolicy, imagined
from emofeedback_trainer.fusion.run import fuse, prepare
from emofeedback_trainer.fusion.states import JudgeReasoner

_FIRST_SEED = 700_000


def with_own_store(profile: Profile, names: Sequence[str], store: Path) -> Profile:
    """The profile with a store of policies of its own, in which copies of the named ones lie and further ones may.

    Raises:
        InvalidRequest: the profile has no store to copy from.
        FailedPrecondition, Unavailable: a policy or its store can't be had.
    """
    if not profile.generator.policies:
        raise InvalidRequest.of("profile", f"{profile.name!r} has no store of policies that could be added to")
    for name in dict.fromkeys((*names, profile.generator.policy)):
        if name not in ("", BASE_POLICY) and not (store / name).exists():
            PolicyStore(profile.generator.policies).manifest(name)  # names the policy where there is none
            _copy(f"{profile.generator.policies}/{name}", store / name)
    return replace(profile, generator=replace(profile.generator, policies=str(store)))


class FusedPainter:
    """Makes a policy of a judge by `fuse`, puts it into the profile's store, and measures it on the task's pairs.

    Args:
        config: of the fusion; its name, profile and teacher are set here.
        profile: with a local store of its own, see `with_own_store`.
        teacher: the policy that paints what is learned from.
        task: its evaluation pairs, and who looks at the pictures.

    Raises:
        InvalidRequest: the task has nobody who knows this generator's pictures.
    """

    def __init__(self, config: FusionConfig, profile: Profile, *, teacher: str, task: Task) -> None:
        independent = task.independent(profile.generator.checkpoint)
        if independent is None:
            raise InvalidRequest.of("task", f"{task.name!r} has no independent judge of these pictures")
        self._config = config
        self._profile = profile
        self._teacher = teacher
        self._pairs = task.evaluation
        self._independent = independent

    def __call__(self, checkpoint: str, folder: Path) -> Painting:
        """See `symbiosis.Paint`.

        Raises:
            FailedPrecondition: the judge has no reasoning tokens.
            EmoFeedbackError: as `fusion.run.fuse`.
        """
        profile = replace(self._profile, judge=replace(self._profile.judge, checkpoint=checkpoint))
        written = folder.with_name(f"{folder.name}-profile.toml")
        write_whole(written, to_toml(profile).encode())
        config = replace(
            self._config,
            name=f"{self._config.name}-{folder.parent.name}-{folder.name}",
            profile=str(written),
            policy=self._teacher,
        )
        prepare(config, folder, resume=(folder / CONFIG).exists())
        name = fuse(config, folder).policy
        store = Path(profile.generator.policies)
        if not (store / name).exists():
            _copy(str(folder / "policies" / name), store / name)
        fused = FusedPolicy.found(str(store), name)
        tokens = imagined(JudgeReasoner(profile.judge), self._pairs)
        pictures = with_engines(fused.profile(profile), lambda generator, judge: _paint(generator, self._pairs, tokens))
        return Painting(
            policy=name, errors=tuple(self._error(*both) for both in zip(self._pairs, pictures, strict=True))
        )

    def _error(self, pair: Pair, pngs: Sequence[bytes]) -> float:
        looked = self._independent.look([Image.open(io.BytesIO(png)).convert("RGB") for png in pngs])
        return float(np.mean([distance(AffectPoint(one.valence, one.arousal), pair.target) for one in looked]))


async def _paint(generator: Generator, pairs: Sequence[Pair], tokens: Sequence[EmotionTokens]) -> list[list[bytes]]:
    room = asyncio.Semaphore(8)

    async def group(number: int, pair: Pair) -> list[bytes]:
        seeds = seeds_of(number, IMAGES, _FIRST_SEED)
        request = GenerationRequest(prompt=pair.prompt, seeds=seeds, emotion=tokens[number])
        async with room:
            return [event.data async for event in generator.generate(request) if isinstance(event, GeneratedImage)]

    return list(await asyncio.gather(*(group(number, pair) for number, pair in enumerate(pairs))))


def _copy(source: str, target: Path) -> None:
    """A policy's folder, whole or not at all."""
    partial = target.with_name(f".{target.name}.partial")
    with opened(source, "policies") as (files, root):
        partial.mkdir(parents=True, exist_ok=True)
        for path in files.find(root):
            place = partial / path.removeprefix(root).lstrip("/")
            place.parent.mkdir(parents=True, exist_ok=True)
            files.get_file(path, str(place))
    partial.rename(target)
