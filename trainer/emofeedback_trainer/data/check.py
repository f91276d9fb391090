"""`emofeedback-train data check`: can a data set be read, and what is in it?"""

from __future__ import annotations

import argparse
import json
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from rich import box
from rich.console import Console
from rich.progress import track
from rich.table import Table

from emofeedback.domain.errors import InvalidRequest
from emofeedback.judge.images import read_image
from emofeedback.observability.console import say
from emofeedback.observability.consoles import PlainConsole
from emofeedback_trainer.data.reading import LAYOUTS, read
from emofeedback_trainer.data.records import AXES, BadRow, Sample

_EXAMPLES = """examples:
  emofeedback-train data check emoset data/EmoSet-118K               every row must be good, every picture readable
  emofeedback-train data check emotic data/EMOTIC --skip-bad --json  count bad rows by what is wrong with them
"""
_LISTED = 20
"""Bad rows that the table shows; `--json` has all."""


@dataclass(frozen=True, kw_only=True)
class AxisSummary:
    """Ratings of one axis, on 1-9."""

    count: int
    mean: float
    lowest: float
    highest: float


@dataclass(frozen=True, kw_only=True)
class Summary:
    """What a data set holds."""

    name: str
    license: str
    splits: dict[str, int]
    """Samples by split; the empty name where the source isn't split."""
    pictures: int
    """Samples with a picture."""
    axes: dict[str, AxisSummary]
    """By axis, where anything is rated."""
    emotions: dict[str, int]
    """Samples by Mikels' eight, where the source names one of them."""
    labels: dict[str, int]
    """Samples by the source's own categories, the most frequent first."""
    questions: dict[str, int]
    """Closed questions by what they ask after, the most frequent first."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the options of `emofeedback-train data check`."""
    parser.description = "Read a data set in its published layout, look at every picture, and say what is in it."
    parser.epilog = _EXAMPLES
    parser.add_argument("name", help=f"which data set: {', '.join(LAYOUTS)}")
    parser.add_argument("folder", type=Path, help="where it lies; `emofeedback_trainer.data.readers` shows the layouts")
    parser.add_argument("--skip-bad", action="store_true", help="leave bad rows out and count them")
    parser.add_argument("--json", action="store_true", help="print JSON instead of tables")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> None:
    """Prints the summary.

    Raises:
        InvalidRequest: as `reading.read`, and for the first picture that can't be read unless bad ones are skipped.
    """
    reading = read(arguments.name, arguments.folder, skip_bad=arguments.skip_bad)
    good, damaged = readable(reading.samples, arguments.folder, quiet=arguments.json)
    if damaged and not arguments.skip_bad:
        raise damaged[0].error()
    skipped = [*reading.skipped, *damaged]
    if not good:
        raise InvalidRequest.of("folder", f"{arguments.folder} holds no picture that can be read: {skipped[0]}")
    summary = summarized(good)
    if arguments.json:
        rows = [asdict(bad) for bad in skipped]
        say(json.dumps({**asdict(summary), "skipped": len(skipped), "bad_rows": rows}, indent=2))
    else:
        _show(summary, skipped, PlainConsole())


def readable(samples: Sequence[Sample], folder: Path, *, quiet: bool = True) -> tuple[list[Sample], list[BadRow]]:
    """The samples whose picture can be decoded, or who have none; and the pictures that can't, as bad files."""
    good: list[Sample] = []
    damaged: list[BadRow] = []
    for sample in track(samples, "looking at the pictures", disable=quiet, console=PlainConsole(stderr=True)):
        try:
            if isinstance(sample.image, Path):
                read_image(_bytes(sample.image), field="image")
            good.append(sample)
        except InvalidRequest as error:
            assert isinstance(sample.image, Path)
            file = str(sample.image.relative_to(folder))
            damaged.append(BadRow(file=file, row=0, column="", problem=error.violations[0].problem))
    return good, damaged


def _bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise InvalidRequest.of("image", f"can't be read: {error.strerror}") from error


def summarized(samples: Sequence[Sample]) -> Summary:
    """Counts and ranges of one data set's samples, of which there is at least one."""
    ratings = {axis: [value for sample in samples if (value := getattr(sample, axis)) is not None] for axis in AXES}
    return Summary(
        name=samples[0].source,
        license="; ".join(dict.fromkeys(sample.license for sample in samples)),
        splits=dict(sorted(Counter(sample.split for sample in samples).items())),
        pictures=sum(sample.image is not None for sample in samples),
        axes={
            axis: AxisSummary(
                count=len(values), mean=sum(values) / len(values), lowest=min(values), highest=max(values)
            )
            for axis, values in ratings.items()
            if values
        },
        emotions=_counted(sample.emotion.value for sample in samples if sample.emotion),
        labels=_counted(sample.label for sample in samples if sample.label),
        questions=_counted(question.topic for sample in samples for question in sample.questions),
    )


def _counted(words: Iterable[str]) -> dict[str, int]:
    return dict(sorted(Counter(words).items(), key=lambda item: (-item[1], item[0])))


def _show(summary: Summary, skipped: Sequence[BadRow], console: Console) -> None:
    """The summary for a person."""
    console.print(f"{summary.name}: {sum(summary.splits.values()):,} samples, {summary.pictures:,} with a picture")
    console.print(summary.license)
    if any(summary.splits):
        console.print("splits: " + ", ".join(f"{split} {count:,}" for split, count in summary.splits.items()))
    if summary.axes:
        table = Table(box=box.SIMPLE)
        for name in ("on 1-9", "samples", "mean", "lowest", "highest"):
            table.add_column(name, justify="left" if name == "on 1-9" else "right")
        for name, axis in summary.axes.items():
            values = (axis.mean, axis.lowest, axis.highest)
            table.add_row(name, f"{axis.count:,}", *(f"{value:.2f}" for value in values))
        console.print(table)
    if summary.labels:
        labels = ", ".join(f"{label} {count:,}" for label, count in summary.labels.items())
        console.print(f"labels: {labels}", soft_wrap=True)
    if summary.questions:
        topics = ", ".join(f"{topic} {count:,}" for topic, count in summary.questions.items())
        console.print(f"questions: {topics}", soft_wrap=True)
    if skipped:
        console.print(f"left out: {len(skipped):,} bad rows")
        for bad in skipped[:_LISTED]:
            console.print(f"  {bad}", soft_wrap=True)
        if len(skipped) > _LISTED:
            console.print(f"  and {len(skipped) - _LISTED:,} more; --json lists all")
