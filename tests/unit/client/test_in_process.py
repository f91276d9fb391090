"""`emofeedback.local` is the SDK without a server."""

from __future__ import annotations

import dataclasses
import io
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from PIL import Image

import emofeedback
from emofeedback import (
    Assessment,
    FailedPrecondition,
    GeneratedImage,
    GenerationRequest,
    InvalidRequest,
    OptimizationFinished,
    OptimizationRequest,
    Unavailable,
)
from emofeedback.in_process import AsyncLocal, Local
from emofeedback.profiles.builtin import NANO_PROFILE

PAINTING = GenerationRequest(prompt="a dog in a meadow", seeds=(3,), steps=2)


@pytest.fixture(scope="module")
def engines() -> Iterator[Local]:
    with emofeedback.local("nano") as engines:
        yield engines


@pytest.fixture
async def asynchronous(engines: Local) -> AsyncIterator[AsyncLocal]:
    """The same engines for asyncio, left open for the others."""
    yield await engines.__aenter__()


def image(events: Iterator[object]) -> bytes:
    (image,) = (event.data for event in events if isinstance(event, GeneratedImage))
    return image


def test_a_creation_is_the_answer_of_the_loop_in_process(engines: Local) -> None:
    creation = engines.create("a dog in a meadow", emotion="awe", rounds=1, images=2, seed=3, imagine=False)
    alone = next(
        event.data
        for event in engines.generator.generate(GenerationRequest(prompt=painted(engines), seeds=(creation.seed,)))
        if isinstance(event, GeneratedImage)
    )
    # The answer's file says more of how it was made, too.
    assert Image.open(io.BytesIO(creation.image)).tobytes() == Image.open(io.BytesIO(alone)).tobytes()
    assert creation.generator.name and creation.judge.name
    assert creation.rounds[0].best is not None


def painted(engines: Local) -> str:
    """What round one of the creation was painted from: the nano policy reads the target behind the prompt."""
    from emofeedback.domain.affect import target_phrase
    from emofeedback.domain.validation import target_from

    return f"a dog in a meadow, {target_phrase(target_from(None, None, 'awe'))}"


async def test_with_and_async_with_give_the_same_pixels(engines: Local, asynchronous: AsyncLocal) -> None:
    by_asyncio = [event async for event in asynchronous.generator.generate(PAINTING)]
    assert image(engines.generator.generate(PAINTING)) == image(iter(by_asyncio))


def test_the_judge_answers_on_its_own(engines: Local) -> None:
    (outcome,) = engines.judge.assess([image(engines.generator.generate(PAINTING))], reasoning=True)
    assert isinstance(outcome, Assessment)
    assert outcome.reasoning


def test_the_loop_tells_what_happens_and_may_be_left(engines: Local) -> None:
    request = OptimizationRequest(prompt="a dog", target=emofeedback.AffectPoint(7, 3), rounds=1, images=1)
    assert isinstance(list(engines.optimize(request))[-1], OptimizationFinished)
    for _ in engines.optimize(request):
        break


def test_a_bad_request_is_refused_as_by_the_services(engines: Local) -> None:
    with pytest.raises(InvalidRequest, match="rounds"):
        engines.create("a dog", emotion="awe", rounds=0)


def test_an_unknown_profile_is_refused_before_anything_is_loaded() -> None:
    with pytest.raises(InvalidRequest, match="profile"):
        emofeedback.local("micro")


def test_engines_that_were_closed_paint_no_more() -> None:
    with emofeedback.local("nano") as engines:
        pass
    with pytest.raises(Unavailable):
        image(engines.generator.generate(PAINTING))


def test_a_judge_that_can_not_be_loaded_leaves_no_generator_behind() -> None:
    before = set(threading.enumerate())
    lost = dataclasses.replace(NANO_PROFILE.judge, checkpoint="/nowhere")
    with pytest.raises(FailedPrecondition, match="/nowhere"):
        emofeedback.local(dataclasses.replace(NANO_PROFILE, judge=lost))
    assert {thread.name for thread in set(threading.enumerate()) - before} <= {"emofeedback-client"}


def test_engines_that_are_not_installed_are_one_clear_sentence() -> None:
    services = str(Path(emofeedback.__file__).parents[1])
    code = f"""
import sys
sys.modules["torch"] = None
sys.path.insert(0, {services!r})
import emofeedback
try:
    emofeedback.local("nano")
except emofeedback.FailedPrecondition as error:
    print(error)
"""
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=300)
    assert run.stdout.startswith("the engines are not installed (torch is missing): "), run.stderr


@pytest.mark.parametrize("words", [["create", "a cat", "--emotion", "awe", "--out", "run"], ["assess", "boat.png"]])
def test_a_wrong_checkpoint_is_refused_before_the_libraries_are_imported(words: list[str], tmp_path: Path) -> None:
    part = "generator" if words[0] == "create" else "judge"
    (tmp_path / "own.toml").write_text(f'extends = "nano"\n[{part}]\ncheckpoint = "."\n')
    Image.new("RGB", (8, 8)).save(tmp_path / "boat.png")
    services = str(Path(emofeedback.__file__).parents[1])
    code = f"""
import sys
sys.modules |= dict.fromkeys(("torch", "diffusers", "transformers"))
sys.path.insert(0, {services!r})
from emofeedback.cli.main import main
sys.exit(main({words!r} + ["--profile", "own.toml"]))
"""
    run = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, timeout=300)
    assert run.returncode == 1
    assert run.stderr.startswith("error: . is not a model of the expected kind: "), run.stderr
