"""Publishes what a trainer has learned as a policy: an immutable LoRA artefact that generators fetch by its name.

The weights' file is the one that diffusers' `save_lora_weights` would write, so `load_lora_weights` reads it; but for
the order of its header, which is fixed here: the same weights give the same bytes, and so the same digest.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from diffusers.loaders.lora_base import LORA_ADAPTER_METADATA_KEY
from safetensors.torch import save
from torch import Tensor

from emofeedback.domain.errors import FailedPrecondition, InvalidRequest
from emofeedback.domain.generation import ModelInfo
from emofeedback.domain.limits import BASE_POLICY
from emofeedback.generator.connector import Fused, connector_files
from emofeedback.generator.policy_store import (
    CONNECTOR_WEIGHTS,
    MANIFEST,
    POLICY_NAME,
    WEIGHTS,
    Fusion,
    Manifest,
    PolicyStore,
    Sampling,
)
from emofeedback.storage.fsspec_store import write_new, write_whole

_PART = "transformer"
"""Name of the adapted part in a StableDiffusion3Pipeline, and so the prefix of every key."""


class NameTakenError(FailedPrecondition):
    """Another policy has the name; it is named."""


@dataclass(frozen=True, kw_only=True)
class Published:
    """A policy that generators can fetch."""

    name: str
    digest: str
    """`sha256:` and 64 hex digits over the weights' file."""


def publish(
    uri: str,
    name: str,
    adapter: Mapping[str, Tensor],
    *,
    rank: int,
    alpha: float,
    base: ModelInfo,
    run: str,
    step: int,
    sampling: Sampling | None = None,
    fused: Fused | None = None,
) -> Published:
    """Write an adapter of a transformer to the store at `uri`, manifest first, each file whole or not at all.

    The manifest, which can be written once only, is what takes the name: of several who publish other weights under it
    at once one succeeds. Publishing the same weights again changes nothing but that it finishes what was cut, so a
    resumed run may repeat its last step.

    Args:
        adapter: PEFT's state, `<module>.lora_A.weight` of shape (rank, in) and `<module>.lora_B.weight` (out, rank).
        base: the model that it was trained on.
        sampling: how it wants to be painted with; None: as the profile says.
        fused: the connector through which it reads a judge's emotion tokens; None: it reads none.

    Raises:
        InvalidRequest: the name is no folder's name or reserved, or the weights are no LoRA of this rank,
            or they or the connector's hold NaN or infinity.
        NameTakenError: another policy has the name.
        FailedPrecondition: the store can't be written.
        ResourceExhausted: the disk is full.
        Unavailable: the store can't be reached.
    """
    if not POLICY_NAME.fullmatch(name) or name == BASE_POLICY:
        raise InvalidRequest.of(
            "policy", f"{name!r} can't be a policy's name: 1 to 128 of a-z, A-Z, 0-9, _ . -, and not {BASE_POLICY!r}"
        )
    modules = _modules(adapter, rank)
    weights = _file(adapter, modules, rank=rank, alpha=alpha)
    manifest = Manifest(
        name=name,
        digest="sha256:" + hashlib.sha256(weights).hexdigest(),
        base_name=base.name,
        base_digest=base.digest,
        rank=rank,
        modules=len(modules),
        run=run,
        step=step,
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        sampling=sampling,
        fusion=_fusion(fused) if fused is not None else None,
    )
    store = PolicyStore(uri)
    try:
        with store.opened() as (files, root):
            folder = f"{root}/{name}"
            try:
                write_new(files, f"{folder}/{MANIFEST}", (json.dumps(manifest.to_json(), indent=2) + "\n").encode())
            except FileExistsError:
                _require_same(store.manifest(name), manifest)
            parts = connector_files(fused.connector) if fused is not None else {}
            for file, content in (*parts.items(), (WEIGHTS, weights)):
                if not files.exists(f"{folder}/{file}"):
                    write_whole(files, f"{folder}/{file}", content)
    except FileNotFoundError as error:  # no such bucket
        raise FailedPrecondition(f"the policies at {uri} can't be written: {error}") from error
    return Published(name=name, digest=manifest.digest)


def _modules(adapter: Mapping[str, Tensor], rank: int) -> list[str]:
    """Names of the layers that the adapter changes, sorted."""
    down = {key.removesuffix(".lora_A.weight"): w for key, w in adapter.items() if key.endswith(".lora_A.weight")}
    up = {key.removesuffix(".lora_B.weight"): w for key, w in adapter.items() if key.endswith(".lora_B.weight")}
    if not down or down.keys() != up.keys() or len(down) + len(up) != len(adapter):
        raise InvalidRequest.of("adapter", "holds something else than pairs of lora_A.weight and lora_B.weight")
    for module in down:
        found = {down[module].shape[0], up[module].shape[1]}
        if found != {rank}:
            raise InvalidRequest.of(f"adapter.{module}", f"has rank {sorted(found)}, the policy has {rank}")
        if not (down[module].isfinite().all() and up[module].isfinite().all()):
            raise InvalidRequest.of(f"adapter.{module}", "has NaN or infinity in it")
    return sorted(down)


def _file(adapter: Mapping[str, Tensor], modules: list[str], *, rank: int, alpha: float) -> bytes:
    tensors = {f"{_PART}.{key}": weight.detach().cpu().contiguous() for key, weight in adapter.items()}
    config = {"r": rank, "lora_alpha": alpha, "target_modules": modules}
    metadata = {f"{_PART}.{key}": value for key, value in config.items()}
    # One key only: safetensors writes several in an order that changes from call to call.
    content: bytes = save(tensors, {LORA_ADAPTER_METADATA_KEY: json.dumps(metadata, sort_keys=True)})
    return content


def _fusion(fused: Fused) -> Fusion:
    connector = fused.connector
    for name, weight in connector.state_dict().items():
        if not weight.isfinite().all():
            raise InvalidRequest.of(f"connector.{name}", "has NaN or infinity in it")
    return Fusion(
        connector="sha256:" + hashlib.sha256(connector_files(connector)[CONNECTOR_WEIGHTS]).hexdigest(),
        judge=fused.judge,
        tokens=connector.config.tokens,
        variations=fused.variations,
        width=connector.config.judge_width,
    )


def _require_same(found: Manifest, new: Manifest) -> None:
    told = [(it.digest, it.base_digest, it.sampling, it.fusion) for it in (found, new)]
    if told[0] != told[1]:
        raise NameTakenError(
            f"policy {new.name!r} is published already with other weights ({found.digest} by the run {found.run!r}, "
            f"now {new.digest}): names are immutable, take another one"
        )
