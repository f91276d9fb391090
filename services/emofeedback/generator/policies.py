"""Policies in use: named LoRA adapters on one transformer, fetched on demand, the last few kept.

Samples of several policies share one process: before a forward the transformer is switched to the policy of its
samples. A switch between loaded adapters takes about a thirtieth of a denoising step, loading one about a step. On a
CPU their changes are added to the weights (`folding`); in compiled blocks the numbers of one adapter are exchanged for
those of another (`compiled`).
"""

from __future__ import annotations

import shutil
import threading
from collections import OrderedDict
from collections.abc import Set
from pathlib import Path
from typing import Any

from diffusers import SD3Transformer2DModel, StableDiffusion3Pipeline
from peft.tuners.lora import LoraLayer
from safetensors import SafetensorError

from emofeedback.domain.errors import FailedPrecondition
from emofeedback.domain.generation import ModelInfo
from emofeedback.domain.limits import BASE_POLICY
from emofeedback.generator.compiled import CompiledBlocks, LowRank, low_rank_changes
from emofeedback.generator.connector import Fused, read_connector
from emofeedback.generator.folding import FoldedAdapters
from emofeedback.generator.policy_store import WEIGHTS, Fusion, Manifest, PolicyStore, Sampling, resolved
from emofeedback.storage.scratch import scratch_folder

_LOADED = 4
"""Adapters that stay on the transformer; the least recently used one leaves, with its files."""


class Policies:
    """The adapters of one transformer. `use` is for the sampler thread, all else may be called from any."""

    def __init__(
        self,
        uri: str,
        transformer: SD3Transformer2DModel,
        base: ModelInfo,
        *,
        default: str = "",
        blocks: CompiledBlocks | None = None,
    ) -> None:
        """`uri` is the store, empty: there are no policies. `base` is whose transformer it is, `blocks` are the
        transformer's, where they are compiled."""
        self._blocks = blocks
        self._changes: OrderedDict[str, dict[str, LowRank]] = OrderedDict()
        self._store = PolicyStore(uri)
        self._transformer = transformer
        self._base = base
        self._default = default
        self._files = scratch_folder("policies")
        self._fetching = threading.Lock()
        self._manifests: dict[str, Manifest] = {}
        self._loaded: OrderedDict[str, str] = OrderedDict()
        self._fused: dict[str, Fused] = {}
        self._layers: list[LoraLayer] = []
        self._folded = FoldedAdapters() if transformer.device.type == "cpu" else None
        self._in_use: str | None = ""
        self._loads = 0

    def names(self) -> list[str]:
        """All policies, sorted.

        Raises:
            Unavailable: the store can't be read.
        """
        return self._store.names()

    def resolve(self, name: str) -> str:
        """As `policy_store.resolved`, with the profile's own."""
        return resolved(name, self._default)

    def fetch(self, name: str) -> None:
        """Bring a resolved policy's weights to this machine.

        Raises:
            NotFound: there is no such policy; the message names the known ones.
            FailedPrecondition: it is damaged, has changed under its name, or was made for another base model.
            Unavailable: the store can't be read.
        """
        if not name:
            return
        if self._is_here(name):
            return
        with self._fetching:
            if self._is_here(name):  # by another call
                return
            arriving = self._folder(".arriving")  # as no policy can be called
            shutil.rmtree(arriving, ignore_errors=True)
            self._accept(name, self._store.fetch(name, arriving))
            arriving.rename(self._folder(name))

    def digest(self, name: str) -> str:
        """`sha256:` and 64 hex digits over a fetched policy's weights; empty for the base weights."""
        return self._manifests[name].digest if name else ""

    def sampling(self, name: str) -> Sampling | None:
        """How a fetched policy wants to be painted with; None: as the profile says."""
        return self._manifests[name].sampling if name else None

    def fusion(self, name: str) -> Fusion | None:
        """Whose emotion tokens a fetched policy reads; None: nobody's."""
        return self._manifests[name].fusion if name else None

    def fused(self, name: str) -> Fused:
        """The connector of a policy that has a `fusion`, on the transformer's device.

        Raises:
            FailedPrecondition: it is none, or does not fit the transformer or what the manifest says.
            NotFound, Unavailable: as `fetch`, where the policy had left and is gone from the store.
        """
        if name not in self._fused:
            self.fetch(name)  # it may have left since its call came in
            fusion, config = self._manifests[name].fusion, self._transformer.config
            assert fusion is not None
            expected = {
                "tokens": fusion.tokens,
                "judge_width": fusion.width,
                "context_width": config.joint_attention_dim,
                "pooled_width": config.pooled_projection_dim,
            }
            try:
                connector = read_connector(self._folder(name), expected)
            except (KeyError, OSError, RuntimeError, SafetensorError, TypeError, ValueError) as error:
                raise FailedPrecondition(f"the connector of policy {name!r} can't be used: {error}") from error
            connector.to(self._transformer.device)
            self._fused[name] = Fused(connector=connector, judge=fusion.judge, variations=fusion.variations)
        return self._fused[name]

    def use(self, name: str) -> None:
        """Switch the transformer to a resolved policy.

        Raises:
            FailedPrecondition: the file is no adapter of this transformer, changes fewer layers than it says, lacks a
                tensor of them, has one too many, or one with NaN or infinity in it.
            NotFound, Unavailable: as `fetch`, where the policy had left and is gone from the store.
        """
        if name == self._in_use:
            return
        before, self._in_use = self._in_use, None  # unknown, should loading break off
        if self._blocks is not None:
            self._blocks.exchange(self._read_changes(name) if name else {})
        else:
            self._switch(before, name)
        self._in_use = name

    def _switch(self, before: str | None, name: str) -> None:
        """Between PEFT's adapters, "" being none of them; `before` is None where it is unknown."""
        if self._folded is not None:
            self._folded.take_out()
        if name:
            self._load(name)
        if name and self._folded is not None:
            self._folded.put_in(self._loaded[name], self._layers)
            return
        # Layer by layer: the transformer's own set_adapter looks at every module, which takes ten times as long.
        for layer in self._layers:
            if name:
                layer.set_adapter(self._loaded[name], inference_mode=True)
            if not (name and before):
                layer.enable_adapters(bool(name))

    def close(self) -> None:
        self._files.cleanup()

    def _accept(self, name: str, manifest: Manifest) -> None:
        if manifest.base_digest != self._base.digest:
            raise FailedPrecondition(
                f"policy {name!r} was made for {manifest.base_name} ({manifest.base_digest}), "
                f"this generator is {self._base.name} ({self._base.digest}): name another policy, or "
                f"{BASE_POLICY!r} for none"
            )
        known = self._manifests.setdefault(name, manifest)
        if known.digest != manifest.digest:
            raise FailedPrecondition(
                f"policy {name!r} was {known.digest} and is {manifest.digest} now: it never may be"
            )

    def _load(self, name: str) -> None:
        if name in self._loaded:
            self._loaded.move_to_end(name)
            return
        self.fetch(name)  # it may have left since its call came in
        # PEFT keeps adapters as module names, where dots are not allowed; a number is always fine.
        adapter = f"policy{self._loads}"
        self._loads += 1
        try:
            weights, metadata = self._read(name)
            StableDiffusion3Pipeline.load_lora_into_transformer(
                weights, self._transformer, adapter_name=adapter, metadata=metadata
            )
        except (KeyError, OSError, RuntimeError, SafetensorError, TypeError, ValueError) as error:
            raise FailedPrecondition(f"policy {name!r} is not a LoRA adapter of this model: {error}") from error
        self._layers = [module for module in self._transformer.modules() if isinstance(module, LoraLayer)]
        if problem := self._problem(adapter, weights.keys(), self._manifests[name].modules):
            self._transformer.delete_adapters(adapter)
            raise FailedPrecondition(f"policy {name!r} {problem}")
        self._loaded[name] = adapter
        if len(self._loaded) > _LOADED:
            left, oldest = self._loaded.popitem(last=False)
            self._transformer.delete_adapters(oldest)
            if self._folded is not None:
                self._folded.forget(oldest)
            self._forget(left)

    def _read_changes(self, name: str) -> dict[str, LowRank]:
        """What a policy changes, for compiled blocks."""
        if name not in self._changes:
            self.fetch(name)  # it may have left since its call came in
            try:
                changes = low_rank_changes(*self._read(name), self._transformer)
            except (KeyError, OSError, RuntimeError, SafetensorError, TypeError, ValueError) as error:
                raise FailedPrecondition(f"policy {name!r} is not a LoRA adapter of this model: {error}") from error
            modules = self._manifests[name].modules
            if len(changes) != modules:
                problem = f"changes {len(changes)} layers of this model, its manifest says {modules}"
                raise FailedPrecondition(f"policy {name!r} {problem}")
            self._changes[name] = changes
            if len(self._changes) > _LOADED:
                left, _ = self._changes.popitem(last=False)
                self._forget(left)
        self._changes.move_to_end(name)
        return self._changes[name]

    def _read(self, name: str) -> tuple[dict[str, Any], dict[str, Any] | None]:
        weights, metadata = StableDiffusion3Pipeline.lora_state_dict(
            str(self._folder(name) / WEIGHTS), use_safetensors=True, return_lora_metadata=True
        )
        if not all(key.startswith("transformer.") for key in weights):
            raise ValueError("it has weights for other parts than the transformer")
        return weights, metadata

    def _problem(self, adapter: str, sent: Set[str], modules: int) -> str:
        """What is wrong with a loaded adapter, in words; empty where nothing is.

        PEFT makes up what a file lacks and passes over what the transformer has no place for, so the tensors that have
        arrived are held against those that the file has `sent`, and against the `modules` of the manifest.
        """
        made = {
            f"transformer.{name.replace(f'.{adapter}.', '.')}": weight
            for name, weight in self._transformer.named_parameters()
            if f".{adapter}." in name
        }
        changed = {key.rsplit(".lora_", 1)[0] for key in sent & made.keys()}
        if len(changed) != modules:
            return f"changes {len(changed)} layers of this model, its manifest says {modules}"
        if unequal := sorted(sent ^ made.keys()):
            return f"{'has no place for' if unequal[0] in sent else 'lacks'} {unequal[0]}"
        # As they were converted: what was finite in its file may be too large for half precision.
        damaged = [key for key, weight in made.items() if not weight.isfinite().all()]
        return f"has NaN or infinity in {damaged[0]}" if damaged else ""

    def _forget(self, name: str) -> None:
        """What was fetched of a policy that has left."""
        self._fused.pop(name, None)
        shutil.rmtree(self._folder(name), ignore_errors=True)

    def _is_here(self, name: str) -> bool:
        return name in self._manifests and self._folder(name).is_dir()

    def _folder(self, name: str) -> Path:
        return self._files.path / name
