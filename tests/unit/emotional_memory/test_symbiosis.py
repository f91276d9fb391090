"""The rounds themselves, with a generator and a witness of colors and the embedded judge."""

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from emofeedback.domain.limits import BASE_POLICY
from emofeedback.profiles.builtin import NANO_PROFILE
from emofeedback.profiles.profile import Profile
from emofeedback_trainer.emotional_memory import symbiosis
from emofeedback_trainer.emotional_memory.refresh_config import REFRESH_CONFIGS
from emofeedback_trainer.emotional_memory.symbiosis import REAL, SEEN, UNSEEN, Round, Symbiosis, run_rounds
from support.colored_world import ColorGenerator, ColorWitness, color_judge, data_folder


@pytest.fixture
def plan(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Symbiosis:
    def with_engines(profile: Profile, work: Callable[[Any, Any], Coroutine[Any, Any, Any]]) -> Any:
        return asyncio.run(work(ColorGenerator(), color_judge()))

    monkeypatch.setattr(symbiosis, "with_engines", with_engines)
    return Symbiosis(
        data=data_folder(tmp_path / "data", train=80, val=40),
        policies=(BASE_POLICY,),
        unseen="nano-fast",
        refresh=replace(REFRESH_CONFIGS["nano"], steps=1, batch=4, measured=4),
        rounds=1,
        twins=30,
        held_out=4,
        arms=("memory", "alone"),
    )


def _run(plan: Symbiosis, folder: Path) -> list[Round]:
    return run_rounds(plan, folder, NANO_PROFILE, witness=ColorWitness(), show=lambda part, done, wanted: None)


def test_rounds_that_are_done_stay_as_they_are_when_further_ones_are_asked_for(plan: Symbiosis, tmp_path: Path) -> None:
    [first] = _run(plan, tmp_path / "rounds")
    again, second = _run(replace(plan, rounds=2), tmp_path / "rounds")
    assert again == first
    assert second.learned_from > first.learned_from > 0
    for number, arms in ((1, first.arms), (2, second.arms)):
        assert [arm.arm for arm in arms] == ["memory", "alone"]
        assert (tmp_path / "rounds" / f"round-{number}" / "memory").is_dir()
        for arm in arms:
            assert {name: len(errors) for name, errors in arm.errors.items()} == {REAL: 4, SEEN: 4, UNSEEN: 4}
