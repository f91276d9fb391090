"""VECBench (Wu et al., 2025, arXiv 2512.15528): pictures of six sets, each to be given one of its set's emotions.

test_8k.jsonl       {"task", "ground_truth", "candidates": [...], "conversations": [...]}, one a line
<image>             the pictures, where the first `{"type": "image", "image": ...}` of the conversation says

Nine tasks: Abstract-8, Artphoto-8, EmoSet-8, FI-2, FI-8, UnbiasedEmo-6, WebEmo-2, WebEmo-7 and WebEmo-25, the number
being how many candidates there are (-2: positive and negative). Pictures are looked for within the folder: where the
file names them from a root of the authors' own, it has to be rewritten. A sample is a line, since one picture serves
several tasks. EmoSet, ArtPhoto and the abstract paintings have readers of their own whole layouts too.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from emofeedback_trainer.data.readers import abstract8, artphoto, emoset
from emofeedback_trainer.data.records import ClosedQuestion, Sample
from emofeedback_trainer.data.rows import Row, json_lines
from emofeedback_trainer.data.taxonomies import mikels

SOURCE = "vecbench"
_FI = "FI: research use, cite You et al. (2016); photographs belong to their photographers"
_PANDA = "research use, cite Panda et al. (2018); pictures belong to their authors"
LICENSES = {
    "Abstract-8": abstract8.LICENSE,
    "Artphoto-8": artphoto.LICENSE,
    "EmoSet-8": emoset.LICENSE,
    "FI-2": _FI,
    "FI-8": _FI,
    "UnbiasedEmo-6": f"UnbiasedEmo: {_PANDA}",
    "WebEmo-2": f"WebEmo: {_PANDA}",
    "WebEmo-7": f"WebEmo: {_PANDA}",
    "WebEmo-25": f"WebEmo: {_PANDA}",
}
"""By task: the terms of the set that its pictures come from."""
SPLITS = ()

_FILE = "test_8k.jsonl"


def rows(folder: Path) -> Iterator[Row]:
    """One row per line."""
    return json_lines(folder, _FILE)


def sample(row: Row) -> Sample:
    """One picture in one task; it has a Mikels emotion where the task's candidates are Mikels' eight."""
    task = row.text("task")
    if task not in LICENSES:
        raise row.bad("task", f"is {task[:60]!r}, it must be one of {', '.join(LICENSES)}")
    options = tuple(option.lower() for option in row.texts("candidates"))
    truth = row.text("ground_truth").lower()
    if truth not in options:
        raise row.bad("ground_truth", f"is {truth[:60]!r}, which is none of the candidates")
    eight = all(mikels(option) for option in options)
    return Sample(
        id=str(row.number),
        source=SOURCE,
        license=LICENSES[task],
        image=row.path("conversations", _image(row)),
        emotion=mikels(truth) if eight else None,
        label=truth,
        questions=(ClosedQuestion(topic=task, text="", options=options, answer=truth),),
        split="test",
    )


def _image(row: Row) -> str:
    """The path of the first picture that the conversation names."""
    for message in _list(row.cells.get("conversations")):
        for part in _list(message.get("content") if isinstance(message, dict) else None):
            if isinstance(part, dict) and part.get("type") == "image" and isinstance(part.get("image"), str):
                return str(part["image"]).removeprefix("file://")
    raise row.bad("conversations", "names no picture: a part of a message must be {'type': 'image', 'image': path}")


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []
