"""`emofeedback assess`: what images make people feel. One bad file never costs the others their answer."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.box import SIMPLE
from rich.padding import Padding
from rich.table import Table

from emofeedback.backends import Engines
from emofeedback.cli.display import loading
from emofeedback.cli.pictures import pictures_in, read_picture
from emofeedback.domain.assessment import Assessment, AssessmentOutcome, Judge
from emofeedback.domain.errors import InvalidRequest, MessageTooLarge
from emofeedback.domain.validation import check_user
from emofeedback.observability.consoles import Consoles

_BATCH = 16
"""Images in one call: enough to fill the judge, few enough that results keep coming."""


def assess(paths: Sequence[Path], *, explain: bool, user: str, engines: Engines, consoles: Consoles) -> bool:
    """Prints a table, with `explain` a paragraph for each image, or for programs one JSON object a line.

    Args:
        paths: pictures, folders of some, `-` for standard input.
        user: id of a person by whose calibration valence and arousal are corrected; empty: uncorrected.

    Returns:
        True where all images could be judged; the others are named as errors.

    Raises:
        EmoFeedbackError: the judge could not be reached or loaded.
    """
    check_user(user, required=False)
    files, all_judged = pictures_in(paths, consoles)
    if not files:
        return False
    table = _table()

    def show(path: Path, assessment: Assessment) -> None:
        if consoles.for_programs:
            consoles.say(json.dumps(_record(path, assessment, explain)))
        elif explain:
            _explain(path, assessment, consoles)
        else:
            table.add_row(str(path), *_values(assessment))

    async def judge_all() -> bool:
        judged = True
        async with opened as judge:
            for start in range(0, len(files), _BATCH):
                named = files[start : start + _BATCH]
                batch = [(path, data) for path in named if (data := read_picture(path, consoles)) is not None]
                judged &= len(batch) == len(named)
                outcomes = await _outcomes(judge, [data for _, data in batch], explain, user) if batch else []
                for (path, _), outcome in zip(batch, outcomes, strict=True):
                    if isinstance(outcome, Assessment):
                        show(path, outcome)
                    else:
                        judged = False
                        consoles.error(f"{path}: {outcome}")
        return judged

    with loading(consoles, engines.profile):
        opened = engines.judge()
    all_judged &= asyncio.run(judge_all())
    if table.row_count:
        consoles.out.print(table)
    return all_judged


async def _outcomes(judge: Judge, images: Sequence[bytes], explain: bool, user: str) -> list[Assessment | str]:
    """The outcome or the problem of each image; where a batch is refused, its images are looked at one by one."""
    try:
        return [_or_problem(outcome) for outcome in await judge.assess(images, reasoning=explain, user=user)]
    except (InvalidRequest, MessageTooLarge) as error:
        if len(images) == 1:
            problems = [v.problem for v in error.violations] if isinstance(error, InvalidRequest) else [str(error)]
            return ["; ".join(problems)]
    return [(await _outcomes(judge, [image], explain, user))[0] for image in images]


def _or_problem(outcome: AssessmentOutcome) -> Assessment | str:
    return outcome if isinstance(outcome, Assessment) else f"the judge could not say: {outcome.reason}"


def _record(path: Path, assessment: Assessment, explain: bool) -> dict[str, Any]:
    record = {
        "path": str(path),
        "valence": round(assessment.valence, 4),
        "arousal": round(assessment.arousal, 4),
        "emotion": assessment.emotion,
        "confidence": round(assessment.confidence, 4),
    }
    return {**record, "reasoning": assessment.reasoning} if explain else record


def _explain(path: Path, assessment: Assessment, consoles: Consoles) -> None:
    """The image's name, its numbers, and the judge's words under them."""
    valence, arousal, emotion, confidence = _values(assessment)
    consoles.out.print(str(path), style="bold", soft_wrap=True)
    consoles.say(f"  valence {valence}, arousal {arousal}, {emotion} {confidence}")
    consoles.out.print(Padding(assessment.reasoning, (0, 0, 1, 2)))


def _table() -> Table:
    table = Table(box=SIMPLE, pad_edge=False)
    table.add_column("image", overflow="fold")
    table.add_column("valence", justify="right")
    table.add_column("arousal", justify="right")
    table.add_column("emotion")
    table.add_column("confidence", justify="right")
    return table


def _values(assessment: Assessment) -> tuple[str, str, str, str]:
    return (
        f"{assessment.valence:.2f}",
        f"{assessment.arousal:.2f}",
        str(assessment.emotion),
        f"{assessment.confidence:.0%}",
    )
