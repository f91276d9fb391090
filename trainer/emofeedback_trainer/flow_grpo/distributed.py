"""One learner in several processes: Ray Train starts them, each learns from its share of every rollout.

Gradients are summed between them (`Learner` does that wherever `torch.distributed` is initialized), so their weights
are always the same, and what the first one says holds for all. A run asks a `DistributedLearner` as it would a
`Learner`.
"""

from __future__ import annotations

import os
import queue
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from torch import Tensor

from emofeedback.domain.errors import Unavailable
from emofeedback_trainer.core.ray_cluster import ray_cluster, torch_on_loopback
from emofeedback_trainer.flow_grpo.learner import Learner
from emofeedback_trainer.flow_grpo.learning import UpdateMetrics
from emofeedback_trainer.flow_grpo.types import Rollout

_LOOK_SECONDS = 1.0
"""How often someone who waits for the workers looks whether they are still there."""


@contextmanager
def distributed_learner(
    load: Callable[[], Learner], *, workers: int, gpus: bool = False
) -> Iterator[DistributedLearner]:
    """A learner in `workers` processes for as long as the context lasts: on the Ray cluster that the environment's
    RAY_ADDRESS names, or on this machine, through loopback only.

    Args:
        load: makes a worker's learner; it is sent to the workers, so it must not hold what can't travel.
        gpus: one for each worker; they then speak NCCL with each other instead of Gloo.

    Raises:
        Unavailable: Ray or a worker did not start.
    """
    if sys.platform == "linux" and not os.environ.get("RAY_ADDRESS"):
        os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo")
    with ray_cluster():
        learner = DistributedLearner(load, workers=workers, gpus=gpus)
        try:
            learner.digest()  # answered once every worker has its learner
            yield learner
        finally:
            learner.close()


class DistributedLearner:
    """The same calls as a `Learner`'s, answered by workers. They need a Ray cluster: see `distributed_learner`.

    A worker that dies ends all of them; every call then raises Unavailable, and a new learner goes on from the last
    `state()`.
    """

    def __init__(self, load: Callable[[], Learner], *, workers: int, gpus: bool) -> None:
        from ray.util.queue import Queue

        self._calls = [Queue(actor_options={"num_cpus": 0}) for _ in range(workers)]
        self._replies = Queue(actor_options={"num_cpus": 0})
        self._failure = ""
        self._training = threading.Thread(target=self._train, args=(load, gpus), name="learners", daemon=True)
        self._training.start()

    @property
    def steps(self) -> int:
        """Optimizer steps done."""
        return int(self._ask("steps"))

    @property
    def modules(self) -> int:
        """Linear layers that the adapter changes."""
        return int(self._ask("modules"))

    def digest(self) -> str:
        """See `Learner.digest`."""
        return str(self._ask("digest"))

    def adapter(self, *, averaged: bool) -> dict[str, Tensor]:
        """See `Learner.adapter`."""
        weights: dict[str, Tensor] = self._ask("adapter", averaged=averaged)
        return weights

    def probe(self) -> Tensor:
        """See `Learner.probe`."""
        velocities: Tensor = self._ask("probe")
        return velocities

    def update(self, rollout: Rollout, advantages: Sequence[Sequence[float]]) -> UpdateMetrics:
        """See `Learner.update`."""
        import ray

        # Sent once, however many workers read it.
        metrics: UpdateMetrics = self._ask("update", ray.put(rollout), advantages)
        return metrics

    def state(self) -> dict[str, Tensor]:
        """See `Learner.state`."""
        state: dict[str, Tensor] = self._ask("state")
        return state

    def load_state(self, state: Mapping[str, Tensor]) -> None:
        """See `Learner.load_state`."""
        self._ask("load_state", dict(state))

    def close(self) -> None:
        """Let the workers go."""
        for calls in self._calls:
            calls.put(None)
        self._training.join()

    def _ask(self, name: str, *arguments: Any, **options: Any) -> Any:
        """Call every worker's learner; the first worker's answer, or the error of any of them."""
        for calls in self._calls:
            calls.put((name, arguments, options))
        replies = dict(self._reply() for _ in self._calls)
        for reply in replies.values():
            if isinstance(reply, Exception):
                raise reply
        return replies[0]

    def _reply(self) -> tuple[int, Any]:
        while True:
            over = not self._training.is_alive()
            try:
                rank, reply = self._replies.get(timeout=_LOOK_SECONDS)
                return rank, reply
            except queue.Empty:
                if over:
                    raise Unavailable(f"the learner's workers have ended: {self._failure}") from None

    def _train(self, load: Callable[[], Learner], gpus: bool) -> None:
        """Runs on a thread of its own until the workers are let go."""
        from ray.train import RunConfig, ScalingConfig
        from ray.train.torch import TorchTrainer

        with tempfile.TemporaryDirectory(prefix="emofeedback-learners-") as folder:
            trainer = TorchTrainer(
                _work,
                torch_config=None if os.environ.get("RAY_ADDRESS") else torch_on_loopback(),
                train_loop_config={"load": load, "calls": self._calls, "replies": self._replies},
                scaling_config=ScalingConfig(num_workers=len(self._calls), use_gpu=gpus),
                run_config=RunConfig(storage_path=folder, name="learners"),
            )
            try:
                trainer.fit()
            except Exception as error:  # Ray's own errors have no common root
                self._failure = str(error)


def _work(config: Mapping[str, Any]) -> None:
    """A worker's life: make a learner, answer calls."""
    import ray
    from ray.train import get_context

    rank = get_context().get_world_rank()
    calls, replies = config["calls"][rank], config["replies"]
    learner = config["load"]()
    while (call := calls.get()) is not None:
        name, arguments, options = call
        arguments = [ray.get(value) if isinstance(value, ray.ObjectRef) else value for value in arguments]
        try:
            member = getattr(learner, name)
            reply = member(*arguments, **options) if callable(member) else member
        except Exception as error:  # it is the caller's, who may go on with another call
            reply = error
        replies.put((rank, reply if rank == 0 or isinstance(reply, Exception) else None))
