"""Captions of many pictures on Ray Data: a pool of judges, and what is done is kept, so that a cut build goes on.

The pictures are cut into parts of a fixed size, which a judge captions in one go. Greedy decoding then gives the same
captions whoever captions a part, in whatever order, and whether or not the build was cut between parts.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from emofeedback.backends import Engines
from emofeedback.domain.affect import Emotion
from emofeedback.domain.assessment import Judge
from emofeedback.domain.errors import EmoFeedbackError, FailedPrecondition, Unavailable
from emofeedback.domain.generation import ModelInfo
from emofeedback.storage.files import write_whole
from emofeedback_trainer.core.ray_cluster import ray_cluster
from emofeedback_trainer.data.captions import Captions, Wanted, caption
from emofeedback_trainer.data.card import Show

PART = 32
"""Pictures that are captioned together, and lost together where a build is cut."""


@dataclass(frozen=True, kw_only=True)
class Task:
    """One picture to caption."""

    image: Path
    """On a file system that all of the cluster's machines share."""
    emotion: Emotion | None
    """For its emotional caption; None: only a neutral one is wanted."""


def caption_all(
    tasks: Sequence[Task], engines: Engines, folder: Path, *, judges: int, gpus: float, show: Show
) -> tuple[list[Captions], ModelInfo]:
    """Captions of every picture, in their order, and the model that made them.

    Args:
        engines: gives each worker its judge.
        folder: where finished parts are kept, by number; a part that is there is not made again.
        judges: workers at a time.
        gpus: of each worker.

    Raises:
        FailedPrecondition: kept parts are another judge's.
        Unavailable: a worker died; what was captioned is kept.
        EmoFeedbackError: what the judge itself raised.
    """
    folder.mkdir(exist_ok=True)
    parts = [tasks[start : start + PART] for start in range(0, len(tasks), PART)]
    missing = {number: part for number, part in enumerate(parts) if not _path(folder, number).exists()}
    done = len(tasks) - sum(map(len, missing.values()))
    show("captions", done, len(tasks))
    if missing:
        for number, text in _captioned(missing, engines, judges, gpus):
            write_whole(_path(folder, number), text.encode())
            done += len(parts[number])
            show("captions", done, len(tasks))
    return _read(folder, len(parts))


def _captioned(
    parts: Mapping[int, Sequence[Task]], engines: Engines, judges: int, gpus: float
) -> Iterator[tuple[int, str]]:
    """Number and JSON of each part, as they are finished."""
    with ray_cluster():
        from ray.data import DataContext, from_items
        from ray.exceptions import RayError

        logging.getLogger("ray.data").setLevel(logging.ERROR)
        context = DataContext.get_current()
        context.enable_progress_bars = False
        context.raise_original_map_exception = True
        rows = [
            {
                "part": number,
                "images": [str(task.image.absolute()) for task in part],
                "emotions": [task.emotion.value if task.emotion else "" for task in part],
            }
            for number, part in parts.items()
        ]
        # A block for each part: finished ones come back one by one, not when all of a block's are done.
        captioned = from_items(rows, override_num_blocks=len(rows)).map(
            _Captioner, fn_constructor_args=(engines,), concurrency=min(judges, len(rows)), num_gpus=gpus or None
        )
        try:
            for row in captioned.iter_rows():
                yield int(row["part"]), str(row["json"])
        except RayError as error:
            cause = getattr(error, "cause", None)
            if isinstance(cause, EmoFeedbackError):
                raise cause from error
            raise Unavailable(f"the captions stopped: {error}; the same command goes on from the last part") from error


class _Captioner:
    """A worker of Ray Data: a judge in a process of its own, for as long as that lives."""

    def __init__(self, engines: Engines) -> None:
        self._engines = engines
        self._runner = asyncio.Runner()

    def __call__(self, row: Mapping[str, Any]) -> dict[str, Any]:
        pictures = [
            Wanted(image=Path(str(path)).read_bytes(), emotion=Emotion(str(name)) if name else None)
            for path, name in zip(row["images"], row["emotions"], strict=True)
        ]
        captions = self._runner.run(caption(self._judge, pictures))
        model = self._runner.run(self._judge.model())
        part = {"model": asdict(model), "captions": [asdict(one) for one in captions]}
        return {"part": row["part"], "json": json.dumps(part, ensure_ascii=False)}

    @cached_property
    def _judge(self) -> Judge:
        # Loaded for the first part, not by the constructor: only from a part does Ray hand back what went wrong.
        self._opened = self._engines.judge()
        return self._runner.run(self._opened.__aenter__())


def _path(folder: Path, number: int) -> Path:
    return folder / f"{number:06d}.json"


def _read(folder: Path, parts: int) -> tuple[list[Captions], ModelInfo]:
    read = [json.loads(_path(folder, number).read_text(encoding="utf-8")) for number in range(parts)]
    models = _unique(ModelInfo(**part["model"]) for part in read)
    if len(models) > 1:
        names = ", ".join(f"{model.name} {model.digest}" for model in models)
        raise FailedPrecondition(f"the captions in {folder} are of several judges ({names}): remove it and begin again")
    return [Captions(**one) for part in read for one in part["captions"]], models[0]


def _unique(models: Iterable[ModelInfo]) -> list[ModelInfo]:
    return list(dict.fromkeys(models))
