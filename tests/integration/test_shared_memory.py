"""An emotional memory that several processes fill together, on a Ray cluster."""

import os
import sys
from pathlib import Path

import pytest

from emofeedback.domain.errors import FailedPrecondition, InvalidRequest
from emofeedback_trainer.core.ray_cluster import ray_cluster
from emofeedback_trainer.emotional_memory.entries import Painted
from emofeedback_trainer.emotional_memory.store import PaintedBy, read_memory, writing
from support.painted_entries import LATER, POLICY, painted


def _fill(uri: str, numbers: list[int], policy: PaintedBy) -> None:
    from emofeedback_trainer.emotional_memory.shared import sharing

    with sharing(uri) as writer:
        for number in numbers:
            writer.commit([painted(number, generation=writer.generation(policy))], policy=policy)


def test_processes_that_fill_one_memory_lose_nothing_and_shut_others_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(sys.path))  # Ray's workers import this module
    with ray_cluster():
        import ray

        from emofeedback_trainer.emotional_memory.shared import sharing

        with sharing(str(tmp_path)) as writer:
            with pytest.raises(FailedPrecondition, match="another process works in"), writing(str(tmp_path)):
                pass
            with pytest.raises(InvalidRequest, match="is no PNG"):
                writer.commit([Painted(entry=painted(0).entry, png=b"GIF89a")], policy=POLICY)
            filling = ray.remote(num_cpus=0)(_fill)
            policies = ([1, 2, 3], POLICY), ([4, 5, 6], LATER)
            ray.get([filling.remote(str(tmp_path), numbers, policy) for numbers, policy in policies])
            assert writer.memory == read_memory(str(tmp_path))
        with writing(str(tmp_path)) as alone:
            kept = {entry.sha256 for entry in alone.memory.entries}
    assert kept == {painted(number).entry.sha256 for number in range(1, 7)}
