"""Policies: named LoRA adapters of the transformer, fetched on demand from a folder at any fsspec address.

A policy is a folder with `pytorch_lora_weights.safetensors` in the layout that diffusers' `save_lora_weights` writes.
Names are immutable: what was fetched once under a name is never fetched again.
"""

from __future__ import annotations

import hashlib
import re
import tempfile
import threading
from collections import OrderedDict
from pathlib import Path
from typing import Any

import fsspec
from diffusers import SD3Transformer2DModel, StableDiffusion3Pipeline
from safetensors import SafetensorError

from emofeedback.errors import FailedPrecondition, NotFound, Unavailable

WEIGHTS = "pytorch_lora_weights.safetensors"

_NAME = re.compile(r"[A-Za-z0-9][\w.-]{0,127}")
_LOADED = 4
"""Adapters that stay on the transformer; the least recently used one leaves."""


class Policies:
    """The adapters of one transformer. `names` and `fetch` may be called from any thread, `use` from the painter's."""

    def __init__(self, uri: str, transformer: SD3Transformer2DModel) -> None:
        """`uri` is a folder of policies; empty: there are none."""
        self._uri = uri
        self._transformer = transformer
        self._files = tempfile.TemporaryDirectory(prefix="emofeedback-policies-")
        self._fetching = threading.Lock()
        self._loaded: OrderedDict[str, str] = OrderedDict()
        self._in_use: str | None = ""
        self._loads = 0

    def names(self) -> list[str]:
        """All policies, sorted.

        Raises:
            Unavailable: the folder can't be read.
        """
        if not self._uri:
            return []
        try:
            files, root = fsspec.url_to_fs(self._uri)
            folders = [Path(file).parent.name for file in files.glob(f"{root}/*/{WEIGHTS}")]
        except OSError as error:
            raise Unavailable(f"the folder of policies can't be read: {error}") from error
        return sorted(name for name in folders if _NAME.fullmatch(name))

    def fetch(self, name: str) -> None:
        """Bring a policy's weights to this machine.

        Raises:
            NotFound: there is no such policy; the message names the known ones.
            Unavailable: the folder can't be read.
        """
        if not name or self._file(name).is_file():
            return
        known = self.names()
        if name not in known:
            raise NotFound(f"policy {name!r} is unknown, known are: {', '.join(known) or 'none'}")
        with self._fetching:
            try:
                files, root = fsspec.url_to_fs(self._uri)
                arriving = self._file(name).with_suffix(".part")
                arriving.parent.mkdir(exist_ok=True)
                files.get_file(f"{root}/{name}/{WEIGHTS}", str(arriving))
                arriving.rename(self._file(name))
            except OSError as error:
                raise Unavailable(f"policy {name!r} can't be fetched: {error}") from error

    def digest(self, name: str) -> str:
        """`sha256:` and 64 hex digits over a fetched policy's file; empty for the base weights."""
        if not name:
            return ""
        with self._file(name).open("rb") as file:
            return f"sha256:{hashlib.file_digest(file, 'sha256').hexdigest()}"

    def use(self, name: str) -> None:
        """Make the transformer paint with a fetched policy, or with the base weights where `name` is empty.

        Raises:
            FailedPrecondition: the file is no adapter of this transformer.
        """
        if name == self._in_use:
            return
        self._in_use = None  # unknown, should loading break off
        if name:
            self._load(name)
            self._transformer.set_adapter(self._loaded[name])
            self._transformer.enable_adapters()
        elif hasattr(self._transformer, "peft_config"):
            self._transformer.disable_adapters()
        self._in_use = name

    def close(self) -> None:
        self._files.cleanup()

    def _load(self, name: str) -> None:
        if name in self._loaded:
            self._loaded.move_to_end(name)
            return
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
        self._loaded[name] = adapter
        if len(self._loaded) > _LOADED:
            _, oldest = self._loaded.popitem(last=False)
            self._transformer.delete_adapters(oldest)

    def _read(self, name: str) -> tuple[dict[str, Any], dict[str, Any] | None]:
        weights, metadata = StableDiffusion3Pipeline.lora_state_dict(
            str(self._file(name)), use_safetensors=True, return_lora_metadata=True
        )
        if not all(key.startswith("transformer.") for key in weights):
            raise ValueError("it has weights for other parts than the transformer")
        return weights, metadata

    def _file(self, name: str) -> Path:
        return Path(self._files.name) / name / WEIGHTS
