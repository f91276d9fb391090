"""Commands over scripted models, slow enough to be killed in the middle, each a process of its own.

python killed_command.py create|sweep OPTION...     as `emofeedback`
python killed_command.py flow-grpo DIR [--resume]   a small training run
python killed_command.py build-emoset SOURCE DIR    captions on the Ray cluster of RAY_ADDRESS

`until_finished` kills one at random times and resumes it, and `kept` says what it left.
"""

from __future__ import annotations

import asyncio
import json
import random
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

_TIMES = ("seconds", "images_per_second", "updated", "created", "step_time")


def until_finished(words: Sequence[str], *, kills: int, seconds: float, seed: int) -> tuple[int, float]:
    """Begins the command, kills it so many times after up to `seconds` of work, and resumes it each time.

    Returns:
        How often it was killed before it had finished by itself, and the seconds of its last start's work.
    """
    rng, killed, resume = random.Random(seed), 0, False
    while True:
        process = subprocess.Popen(
            [sys.executable, __file__, *words, *(["--resume"] if resume else [])],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        assert process.stdout is not None
        said = [process.stdout.readline()]
        while said[-1] not in (b"begun\n", b""):  # libraries may warn before
            said.append(process.stdout.readline())
        assert said[-1], b"".join(said).decode()
        began = time.monotonic()
        if killed < kills:
            time.sleep(rng.uniform(0, seconds))
            if process.poll() is None:
                process.kill()
                killed += 1
        output, _ = process.communicate(timeout=300)
        if process.returncode >= 0:
            assert process.returncode == 0, output.decode()
            return killed, time.monotonic() - began
        resume = True


def kept(folder: Path) -> dict[str, Any]:
    """What a command left, by path, without times and without what only says where it lies."""
    files = (path for path in folder.rglob("*") if path.is_file() and path.suffix not in (".part", ".html", ".lock"))
    return {path.relative_to(folder).as_posix(): _content(path) for path in files if path.name != ".lock"}


def _content(path: Path) -> Any:
    if path.suffix == ".json":
        return _timeless(json.loads(path.read_text()))
    if path.suffix == ".jsonl":
        return [_timeless(json.loads(line)) for line in path.read_text().splitlines()]
    return path.read_bytes()


def _timeless(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _timeless(item) for key, item in value.items() if key not in _TIMES}
    return [_timeless(item) for item in value] if isinstance(value, list) else value


def scripted(words: Sequence[str]) -> int:
    """`emofeedback WORDS` with a generator and a judge that follow a script."""
    from emofeedback.cli.main import main
    from support.fakes import ScriptedGenerator
    from support.scripted_services import ScriptedEngines
    from support.steady_judge import SteadyJudge

    engines = ScriptedEngines(generator=ScriptedGenerator(delay=0.04), scripted_judge=SteadyJudge(delay=0.005))
    _begin()
    return main(words, connect=engines.connect)


def _train(folder: Path, resume: bool) -> None:
    from emofeedback.storage.files import held
    from emofeedback_trainer.evaluation.panel import Panel
    from emofeedback_trainer.flow_grpo.trainer import train
    from emofeedback_trainer.nano.task import TASK
    from support.fakes import ScriptedJudge
    from support.scripted_training import SMALL, StoreGenerator, SummingLearner, store_of

    run = train(
        SMALL,
        folder,
        generator=StoreGenerator(store=store_of(folder), delay=0.01),
        judge=ScriptedJudge(delay=0.005),
        learner=SummingLearner(),
        panel=Panel(pairs=TASK.panel[:2], images=2, rewards=SMALL.rewards, independent=None),
        resume=resume,
    )
    with held(folder):
        _begin()
        asyncio.run(run)


def _build(source: Path, folder: Path) -> None:
    from support.emoset_building import CaptioningJudge, build

    _begin()
    build(source, folder, CaptioningJudge(seconds=0.2))


def _begin() -> None:
    print("begun", flush=True)


if __name__ == "__main__":
    if sys.argv[1] == "flow-grpo":
        _train(Path(sys.argv[2]), "--resume" in sys.argv)
    elif sys.argv[1] == "build-emoset":
        _build(Path(sys.argv[2]), Path(sys.argv[3]))
    else:
        sys.exit(scripted(sys.argv[1:]))
