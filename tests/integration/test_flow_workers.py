"""Learning in several processes: the same update as in one."""

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path

import psutil
import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from emofeedback.domain.errors import Unavailable
from emofeedback_trainer.flow_grpo.distributed import DistributedLearner, distributed_learner
from emofeedback_trainer.flow_grpo.learning import TrainingIntegrityError
from support.forked_command import CONTEXT
from support.sockets import beyond_loopback, listening
from support.tiny_learner import learn_in_process, tiny_learner, tiny_rollouts


def _close(some: dict[str, Tensor], others: dict[str, Tensor]) -> bool:
    return some.keys() == others.keys() and all(torch.allclose(some[name], others[name], atol=1e-6) for name in some)


def test_two_gloo_workers_take_the_steps_of_one(tmp_path: Path) -> None:
    workers = [CONTEXT.Process(target=learn_in_process, args=(rank, 2, tmp_path)) for rank in range(2)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert [worker.exitcode for worker in workers] == [0, 0]
    alone = tiny_learner()
    figures = [asdict(alone.update(rollout, advantages)) for rollout, advantages in tiny_rollouts()]

    first, second = (load_file(tmp_path / f"{rank}.safetensors") for rank in range(2))
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert _close(first, alone.state())
    told = json.loads((tmp_path / "0.json").read_text())
    assert told == [pytest.approx(of_update, rel=1e-3, abs=1e-6) for of_update in figures]


@pytest.fixture(scope="module")
def workers() -> Iterator[DistributedLearner]:
    with pytest.MonkeyPatch.context() as patch, _workers(patch) as learner:
        yield learner


@contextmanager
def _workers(patch: pytest.MonkeyPatch) -> Iterator[DistributedLearner]:
    # Workers unpack the learner's recipe, which is a function of the tests.
    patch.setenv("PYTHONPATH", str(Path(__file__).parents[1]), prepend=os.pathsep)
    with distributed_learner(tiny_learner, workers=2) as learner:
        yield learner


@pytest.mark.nightly
def test_ray_train_runs_the_learner_on_two_workers(workers: DistributedLearner) -> None:
    alone = tiny_learner()
    assert workers.digest() == alone.digest()
    assert workers.modules == alone.modules
    workers.load_state(alone.state())
    for rollout, advantages in tiny_rollouts():
        figures, own = workers.update(rollout, advantages), alone.update(rollout, advantages)
        assert asdict(figures) == pytest.approx(asdict(own), rel=1e-3, abs=1e-6)
    assert workers.steps == 2
    assert _close(workers.state(), alone.state())
    assert _close(workers.adapter(averaged=True), alone.adapter(averaged=True))


@pytest.mark.nightly
def test_while_it_learns_nobody_listens_beyond_loopback(workers: DistributedLearner) -> None:
    assert workers.digest()  # the workers have met
    assert len(listening(os.getpid())) > 0
    assert beyond_loopback(os.getpid()) == {}


@pytest.mark.nightly
def test_an_error_of_the_learner_is_the_callers_and_the_workers_go_on(workers: DistributedLearner) -> None:
    [(rollout, advantages), _] = tiny_rollouts()
    with pytest.raises(TrainingIntegrityError, match="not finite"):
        workers.update(rollout, [[float("nan")] * 4, *advantages[1:]])
    before = workers.digest()
    workers.update(rollout, advantages)
    assert workers.digest() != before


@pytest.mark.nightly
def test_a_killed_worker_ends_the_learner_with_an_error(workers: DistributedLearner) -> None:
    [(rollout, advantages), _] = tiny_rollouts()
    descendants = psutil.Process(os.getpid()).children(recursive=True)
    worker = next(
        process for process in descendants if "RayTrainWorker" in process.name() + " ".join(process.cmdline())
    )
    worker.kill()
    with pytest.raises(Unavailable, match="workers have ended"):
        workers.update(rollout, advantages)
