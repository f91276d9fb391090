"""Where metrics come from: the models with their digests, the data with its hash, the seed and the command."""

from __future__ import annotations

import hashlib
import json
import math
import shlex
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, is_dataclass
from pathlib import Path
from typing import Any

from emofeedback.domain.generation import ModelInfo
from emofeedback.domain.limits import BASE_POLICY
from emofeedback.generator.policy_store import PolicyStore
from emofeedback.profiles.profile import GeneratorSettings
from emofeedback_trainer.core.pairs import Pair
from emofeedback_trainer.data.records import Sample
from emofeedback_trainer.evaluation.metrics import Estimate

_SHOWN_DIGITS = len("sha256:") + 12
"""Of a digest in a sentence; the JSON has all of them."""


@dataclass(frozen=True, kw_only=True)
class Model:
    """One model that took part."""

    role: str
    """What it did: judge, independent judge, generator."""
    name: str
    digest: str
    """`sha256:` and 64 hex digits over its weights; empty where only its answers are known."""
    policy: str = ""
    """The adapter that it worked with."""
    policy_digest: str = ""

    @classmethod
    def of(cls, role: str, info: ModelInfo) -> Model:
        """A model as the services name it."""
        return cls(role=role, name=info.name, digest=info.digest, policy=info.policy)

    @classmethod
    def of_generator(cls, info: ModelInfo, settings: GeneratorSettings) -> Model:
        """A generator with the default policy of its profile, or with none."""
        policy = settings.policy
        adapter = policy_digest(policy or BASE_POLICY, settings)
        return cls(role="generator", name=info.name, digest=info.digest, policy=policy, policy_digest=adapter)


def digests(models: Iterable[Model], **others: str) -> dict[str, str]:
    """Digests of models by their roles, behind others, for the settings that a measurement goes on with."""
    return {**others, **{model.role: model.digest for model in models}}


def policy_digest(policy: str, settings: GeneratorSettings) -> str:
    """`sha256:` and 64 hex digits over the weights of a policy in a generator's store; empty for the base.

    Raises:
        EmoFeedbackError: the store can't be read, or has no such policy.
    """
    return "" if policy == BASE_POLICY else PolicyStore(settings.policies).manifest(policy).digest


@dataclass(frozen=True, kw_only=True)
class Data:
    """What was measured on."""

    name: str
    digest: str
    n: int
    """Units: pictures, questions, pairs of prompt and target."""

    @classmethod
    def of_pairs(cls, name: str, pairs: Sequence[Pair]) -> Data:
        """Pairs of prompt and target; the digest is over prompts and targets in their order."""
        content = [(pair.prompt, pair.target.valence, pair.target.arousal) for pair in pairs]
        digest = hashlib.sha256(json.dumps(content).encode()).hexdigest()
        return cls(name=name, digest=f"sha256:{digest}", n=len(pairs))


@dataclass(frozen=True, kw_only=True)
class Provenance:
    """All that somebody needs to measure the same again."""

    command: str
    seed: int
    """Seed of everything drawn: the pictures' noise, sampled replies, the bootstrap."""
    models: tuple[Model, ...]
    data: tuple[Data, ...]

    def to_markdown(self) -> str:
        """A few lines under a table."""
        lines = [f"`{self.command}`, seed {self.seed}; brackets are 95 % bootstrap intervals.", ""]
        for model in self.models:
            digest = f" ({model.digest[:_SHOWN_DIGITS]})" if model.digest else ""
            policy = f" with policy {model.policy}" if model.policy else ""
            adapter = f" ({model.policy_digest[:_SHOWN_DIGITS]})" if model.policy_digest else ""
            lines.append(f"- {model.role}: {model.name}{digest}{policy}{adapter}")
        lines += [f"- data: {data.name} ({data.digest[:_SHOWN_DIGITS]}), n = {data.n:,}" for data in self.data]
        return "\n".join(lines)


def this_command() -> str:
    """The command line of this process, to be typed again."""
    return "emofeedback-train " + shlex.join(sys.argv[1:])


def file_digest(path: Path) -> str:
    """`sha256:` and 64 hex digits over a file's bytes."""
    with path.open("rb") as stream:
        return "sha256:" + hashlib.file_digest(stream, "sha256").hexdigest()


def samples_digest(samples: Iterable[Sample]) -> str:
    """`sha256:` and 64 hex digits over the labels and pictures of exactly these samples, in their order.

    Raises:
        OSError: a picture can't be read.
    """
    digest = hashlib.sha256()
    for sample in samples:
        picture = sample.image.read_bytes() if isinstance(sample.image, Path) else sample.image or b""
        ranking = [(ranked.label, ranked.weight) for ranked in sample.ranking]
        labels: tuple[Any, ...] = (sample.id, sample.valence, sample.arousal, sample.dominance, sample.emotion, ranking)
        if sample.questions:
            labels = (*labels, [asdict(question) for question in sample.questions])
        digest.update(f"{json.dumps(labels)} {hashlib.sha256(picture).hexdigest()}\n".encode())
    return f"sha256:{digest.hexdigest()}"


def plain(value: Any) -> Any:
    """Dataclasses, estimates and numbers as JSON has them; NaN, which JSON lacks, becomes null."""
    if is_dataclass(value) and not isinstance(value, type):
        return plain(asdict(value))
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [plain(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def shown(found: Estimate | None, digits: int = 3) -> str:
    """A metric in a table: `0.521 [0.480, 0.566]`; empty where it was not measured."""
    if found is None or math.isnan(found.value):
        return ""
    interval = "" if math.isnan(found.low) else f" [{found.low:.{digits}f}, {found.high:.{digits}f}]"
    return f"{found.value:.{digits}f}{interval}"
