"""One writer for many processes: a named Ray actor holds the memory, and whoever fills it on the cluster asks it.

Policies then paint side by side, each in a process of its own. The actor lives as long as somebody fills; after a
process that was killed it lives on until the cluster ends, and takes up the next one.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

import ray
from ray.exceptions import RayTaskError

from emofeedback_trainer.emotional_memory.entries import Painted
from emofeedback_trainer.emotional_memory.store import Memory, PaintedBy, generation_of, writing

_NAMESPACE = "emofeedback"


@contextmanager
def sharing(uri: str) -> Iterator[SharedWriter]:
    """As `store.writing`, for several processes of the Ray cluster that this one is connected to.

    Raises:
        As `store.writing`; FailedPrecondition where somebody who is not on this cluster writes to the memory.
    """
    name = f"emotional-memory-{hashlib.sha256(uri.encode()).hexdigest()[:16]}"
    actor = (
        ray.remote(_Holder)
        .options(name=name, namespace=_NAMESPACE, get_if_exists=True, lifetime="detached", num_cpus=0)
        .remote()
    )
    writer = SharedWriter(actor)
    _asked(actor.enter.remote(uri))
    try:
        yield writer
    finally:
        if _asked(actor.leave.remote()) == 0:
            ray.kill(actor)


class SharedWriter:
    """Adds to a memory as `store.MemoryWriter` does, through the one who holds it."""

    def __init__(self, actor: Any) -> None:
        self._actor = actor

    @property
    def memory(self) -> Memory:
        """What is acknowledged by now, of all who fill."""
        memory: Memory = _asked(self._actor.memory.remote())
        return memory

    def generation(self, policy: PaintedBy) -> int:
        """See `MemoryWriter.generation`."""
        return generation_of(self.memory, policy)

    def commit(
        self,
        painted: Sequence[Painted],
        *,
        policy: PaintedBy,
        tried: Mapping[str, int] | None = None,
        refused: Mapping[str, int] | None = None,
    ) -> Memory:
        """See `MemoryWriter.commit`."""
        memory: Memory = _asked(self._actor.commit.remote(painted, policy, tried, refused))
        return memory


class _Holder:
    """The actor."""

    def __init__(self) -> None:
        self._stack = ExitStack()
        self._users = 0

    def enter(self, uri: str) -> None:
        if not self._users:
            self._writer = self._stack.enter_context(writing(uri))
        self._users += 1

    def leave(self) -> int:
        """Returns how many are left."""
        self._users -= 1
        if not self._users:
            self._stack.close()
        return self._users

    def memory(self) -> Memory:
        return self._writer.memory

    def commit(
        self,
        painted: Sequence[Painted],
        policy: PaintedBy,
        tried: Mapping[str, int] | None,
        refused: Mapping[str, int] | None,
    ) -> Memory:
        return self._writer.commit(painted, policy=policy, tried=tried, refused=refused)


def _asked(reference: Any) -> Any:
    """The actor's answer; its errors are raised as they were there."""
    try:
        return ray.get(reference)
    except RayTaskError as error:
        raise error.cause from None
