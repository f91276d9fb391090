"""The table of rounds shows by what the loop chose."""

from __future__ import annotations

import io
from dataclasses import replace

import pytest
from rich.console import Console

from emofeedback.cli.display import rounds_table
from emofeedback.domain.affect import AffectPoint
from emofeedback.domain.optimization import Answer, Candidate, OptimizationRequest, Round
from emofeedback.runs.run import OptimizationRun
from support.fakes import assessment


def written(likely: float | None = None, dominance: float | None = None, imagined: bool | None = None) -> str:
    candidate = Candidate(
        index=0,
        seed=1,
        outcome=replace(assessment(7.0, 4.0), dominance=5.25),
        loss=0.62,
        alignment=1.0,
        on_subject=True,
        likely_loss=likely,
        imagined=imagined,
    )
    run = OptimizationRun(
        request=OptimizationRequest(prompt="a boat", target=AffectPoint(7.0, 3.0), dominance=dominance),
        profile="nano",
        rounds=(Round(index=0, prompt="a boat", candidates=(candidate,), best=0, worst=0, seconds=1.0),),
        best=Answer(round=0, index=0, loss=0.62),
    )
    page = io.StringIO()
    Console(file=page, width=100).print(rounds_table(run))
    return page.getvalue()


@pytest.mark.parametrize(("likely", "shown"), [(0.41, True), (None, False)])
def test_the_likely_error_stands_beside_the_judges_where_the_loop_remembers(likely: float | None, shown: bool) -> None:
    assert ("likely" in written(likely)) is shown
    assert ("0.41" in written(likely)) is shown
    assert "0.62" in written(likely)


def test_dominance_stands_beside_the_two_where_it_is_asked_for() -> None:
    asked = written(0.41, dominance=6.5)
    assert all(said in asked for said in ("dominance", "5.25", "6.50", "0.62", "0.41"))
    assert "dominance" not in written(0.41) and "5.25" not in written(0.41)


@pytest.mark.parametrize(("imagined", "shown"), [(True, True), (False, False), (None, False)])
def test_a_round_whose_best_image_was_imagined_says_so(imagined: bool | None, shown: bool) -> None:
    assert ("a boat (imagined)" in written(imagined=imagined)) is shown
    assert ("imagined: painted from the prompt and" in written(imagined=imagined)) is shown
