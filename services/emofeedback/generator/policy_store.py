"""The store of policies: a folder for each, at any fsspec address (a local folder, S3, ...).

    URI/<name>/policy.json                         the manifest, written first and once
    URI/<name>/connector/                          of a fused policy: its `EmotionConnector`, as diffusers saves it
    URI/<name>/pytorch_lora_weights.safetensors    the weights, in the layout of diffusers' `save_lora_weights`

A name is taken once its manifest is there, and a policy is there once its weights are: they are written last. What lies
under a name never changes. The trainer writes, replicas read.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

from fsspec import AbstractFileSystem

from emofeedback.domain.errors import FailedPrecondition, NotFound
from emofeedback.domain.generation import ModelInfo
from emofeedback.domain.limits import BASE_POLICY, LIMITS
from emofeedback.storage.fsspec_store import opened
from emofeedback.storage.texts import parse_json

MANIFEST = "policy.json"
WEIGHTS = "pytorch_lora_weights.safetensors"
CONNECTOR_CONFIG = "connector/config.json"
CONNECTOR_WEIGHTS = "connector/diffusion_pytorch_model.safetensors"

POLICY_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,127}")
"""What a policy may be called; it is a folder's name, so it can't lead out of the store."""


@dataclass(frozen=True, kw_only=True)
class Sampling:
    """How a distilled policy paints: it has learned to go from each of these noise levels to the next in one step."""

    levels: tuple[float, ...]
    """Before the shift, strictly falling from 1 to above 0: what diffusers' pipeline takes as `sigmas`."""
    guidance: float
    """The scale that is still to be added, 1 where the guidance is in the weights."""

    def __post_init__(self) -> None:
        """Raises ValueError for values out of their ranges."""
        falling = all(here > there for here, there in pairwise((*self.levels, 0.0)))
        if not (falling and self.levels and self.levels[0] == 1 and len(self.levels) <= LIMITS.steps):
            raise ValueError(f"levels must fall from 1 to above 0, at most {LIMITS.steps} of them")
        if not 1 <= self.guidance <= LIMITS.guidance:
            raise ValueError(f"guidance is {self.guidance}, it must be from 1 to {LIMITS.guidance}")


@dataclass(frozen=True, kw_only=True)
class Fusion:
    """Whose emotion tokens a fused policy reads: those of one judge, by a connector that has learned them."""

    connector: str
    """`sha256:` and 64 hex digits over the file of its weights."""
    judge: ModelInfo
    """Whose tokens they are; of the same digest, or they mean something else."""
    tokens: int
    """In one variation."""
    variations: int
    """Imaginations that the judge has learned."""
    width: int
    """Of one token."""

    def to_json(self) -> dict[str, Any]:
        """As in the manifest."""
        return {**asdict(self), "judge": {"name": self.judge.name, "digest": self.judge.digest}}

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> Fusion:
        """What `to_json` wrote. Raises LookupError, TypeError or ValueError where it is not such a content."""
        return cls(
            connector=str(content["connector"]),
            judge=ModelInfo(name=str(content["judge"]["name"]), digest=str(content["judge"]["digest"])),
            tokens=int(content["tokens"]),
            variations=int(content["variations"]),
            width=int(content["width"]),
        )


@dataclass(frozen=True, kw_only=True)
class Manifest:
    """What `policy.json` says of a policy."""

    name: str
    digest: str
    """`sha256:` and 64 hex digits over the weights' file."""
    base_name: str
    base_digest: str
    """As in the base model's `ModelInfo`: the adapter fits these weights and no others."""
    rank: int
    modules: int
    """Linear layers that the adapter changes."""
    run: str
    """The training run that made it."""
    step: int
    """Updates that its weights have seen."""
    created: str
    """UTC, ISO 8601."""
    sampling: Sampling | None = None
    """None: as the profile says."""
    fusion: Fusion | None = None
    """None: it reads no emotion tokens."""

    def to_json(self) -> dict[str, Any]:
        """The content of `policy.json`."""
        content: dict[str, Any] = {
            "name": self.name,
            "digest": self.digest,
            "base": {"name": self.base_name, "digest": self.base_digest},
            "rank": self.rank,
            "modules": self.modules,
            "run": self.run,
            "step": self.step,
            "created": self.created,
        }
        if self.sampling is not None:
            content["sampling"] = asdict(self.sampling)
        if self.fusion is not None:
            content["fusion"] = self.fusion.to_json()
        return content

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> Manifest:
        """The manifest that `to_json` wrote.

        Raises:
            LookupError, TypeError, ValueError: it is not such a content.
        """
        return cls(
            name=str(content["name"]),
            digest=str(content["digest"]),
            base_name=str(content["base"]["name"]),
            base_digest=str(content["base"]["digest"]),
            rank=int(content["rank"]),
            modules=int(content["modules"]),
            run=str(content["run"]),
            step=int(content["step"]),
            created=str(content["created"]),
            sampling=_sampling(content["sampling"]) if "sampling" in content else None,
            fusion=Fusion.from_json(content["fusion"]) if "fusion" in content else None,
        )


def _sampling(content: Mapping[str, Any]) -> Sampling:
    return Sampling(levels=tuple(map(float, content["levels"])), guidance=float(content["guidance"]))


def resolved(name: str, default: str) -> str:
    """The policy that a request means: the profile's `default` where it names none, "" for the base weights."""
    name = name or default
    return "" if name == BASE_POLICY else name


class PolicyStore:
    """Reads a store, from any thread. Every method raises `Unavailable` where it can't be reached, and
    `FailedPrecondition` where it can't be used: a scheme that is not installed, a login that may not read."""

    def __init__(self, uri: str) -> None:
        """`uri` may be empty: such a store has no policies."""
        self.uri = uri

    def names(self) -> list[str]:
        """All policies, sorted."""
        if not self.uri:
            return []
        with self.opened() as (files, root):
            folders = [Path(file).parent.name for file in files.glob(f"{root}/*/{WEIGHTS}")]
        return sorted(name for name in folders if POLICY_NAME.fullmatch(name))

    def require(self, name: str) -> None:
        """Look whether there is such a policy, and at nothing of it.

        Raises:
            NotFound: there is none; the message names the known ones.
        """
        if self._may_hold(name):
            with self.opened() as (files, root):
                if files.exists(f"{root}/{name}/{WEIGHTS}"):
                    return
        raise self._unknown(name)

    def fetch(self, name: str, folder: Path) -> Manifest:
        """Bring a policy's files into the local `folder`, check them, and return what is said of them.

        Raises:
            NotFound: there is no such policy; the message names the known ones.
            FailedPrecondition: it has no readable manifest, or its weights or its connector's are not those that the
                manifest names.
        """
        if not (self._may_hold(name) and self._bring(name, WEIGHTS, folder)):
            raise self._unknown(name)
        manifest = self.manifest(name)
        self._check(name, "weights have", folder / WEIGHTS, manifest.digest)
        if manifest.fusion is not None:
            for file in (CONNECTOR_CONFIG, CONNECTOR_WEIGHTS):
                if not self._bring(name, file, folder):
                    raise FailedPrecondition(f"policy {name!r} is damaged: it lacks its {file}")
            self._check(name, "connector has", folder / CONNECTOR_WEIGHTS, manifest.fusion.connector)
        return manifest

    def _may_hold(self, name: str) -> bool:
        return bool(self.uri and POLICY_NAME.fullmatch(name))

    def _bring(self, name: str, file: str, folder: Path) -> bool:
        """One file of a policy; False where there is none."""
        target = folder / file
        target.parent.mkdir(parents=True, exist_ok=True)
        try:
            with self.opened() as (files, root):
                files.get_file(f"{root}/{name}/{file}", str(target))
        except FileNotFoundError:
            return False
        return True

    @staticmethod
    def _check(name: str, what: str, file: Path, digest: str) -> None:
        if (found := weights_digest(file)) != digest:
            raise FailedPrecondition(
                f"policy {name!r} is damaged: its {what} the digest {found}, its manifest says {digest}"
            )

    def manifest(self, name: str) -> Manifest:
        """What `policy.json` says.

        Raises:
            NotFound: there is no such policy.
            FailedPrecondition: it has none, or one that can't be read.
        """
        try:
            with self.opened() as (files, root):
                content = files.cat_file(f"{root}/{name}/{MANIFEST}")
        except FileNotFoundError as error:
            if name not in self.names():
                raise self._unknown(name) from error
            raise FailedPrecondition(f"policy {name!r} has no {MANIFEST}: publish it to say what it is") from error
        try:
            return Manifest.from_json(parse_json(content))
        except (LookupError, TypeError, ValueError) as error:
            raise FailedPrecondition(f"the {MANIFEST} of policy {name!r} can't be read: {error!r}") from error

    def opened(self) -> AbstractContextManager[tuple[AbstractFileSystem, str]]:
        """As `stores.opened`."""
        return opened(self.uri, "policies")

    def _unknown(self, name: str) -> NotFound:
        return NotFound(f"policy {name!r} is unknown, known are: {', '.join(self.names()) or 'none'}")


def weights_digest(file: Path) -> str:
    """`sha256:` and 64 hex digits over a file."""
    with file.open("rb") as stream:
        return "sha256:" + hashlib.file_digest(stream, "sha256").hexdigest()
