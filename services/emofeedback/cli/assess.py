"""`emofeedback assess`: what images make people feel. One bad file never costs the others their answer.

The numbers are always those of the short rating, with `--latent` of one behind the judge's reasoning tokens: more
exact than what it says aloud. With `--explain` it looks a second time, aloud, and its words stand beside them.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from rich.box import SIMPLE
from rich.padding import Padding
from rich.table import Table

from emofeedback.backends import Engines
from emofeedback.cli.display import loading
from emofeedback.cli.feeling import UNFAMILIAR, drawing
from emofeedback.cli.pictures import looked_at, pictures_in, read_picture
from emofeedback.domain.assessment import Assessment, AssessmentOutcome, Distribution
from emofeedback.domain.reasoning import Reasoning
from emofeedback.domain.taxonomies import check_taxonomy
from emofeedback.domain.validation import check_user
from emofeedback.observability.consoles import Consoles


def assess(
    paths: Sequence[Path],
    *,
    latent: bool,
    explain: bool,
    taxonomy: str,
    user: str,
    engines: Engines,
    consoles: Consoles,
) -> bool:
    """Prints a table, with `explain` a paragraph for each image, or for programs one JSON object a line. Of one image,
    and in paragraphs, the distributions and the emotions' shares are drawn as well.

    A picture that is not of the judge's world is judged all the same, and said to be one.

    Args:
        paths: pictures, folders of some, `-` for standard input.
        latent: rate behind the judge's reasoning tokens.
        explain: ask for reasons as well; valence, arousal, emotion and confidence stay those of the rating.
        taxonomy: the names for the emotions' shares, as for `Assessment.ranking`.
        user: id of a person by whose calibration valence and arousal are corrected; empty: uncorrected.

    Returns:
        True where all images could be judged; the others are named as errors.

    Raises:
        InvalidRequest: there is no such taxonomy, or no person can have such an id.
        EmoFeedbackError: the judge could not be reached or loaded, or has no reasoning tokens.
    """
    check_taxonomy(taxonomy)
    check_user(user, required=False)
    files, all_judged = pictures_in(paths, consoles)
    if not files:
        return False
    way: Reasoning = "latent" if latent else "none"
    table = _table()
    seen: list[Assessment] = []

    def show(path: Path, assessment: Assessment) -> None:
        if consoles.for_programs:
            consoles.say(json.dumps(_record(path, assessment, explain, taxonomy)))
        elif explain:
            _explain(path, assessment, taxonomy, consoles)
        else:
            seen.append(assessment)
            valence, arousal, emotion, confidence = _values(assessment)
            foreign = assessment.in_domain is False
            emotion += " (foreign)" if foreign else ""
            table.add_row(str(path), valence, arousal, emotion, confidence, style="dim" if foreign else "")

    async def judge_all() -> bool:
        judged = 0
        async with opened as judge:

            async def look(images: Sequence[bytes]) -> list[AssessmentOutcome]:
                rated = await judge.assess(images, reasoning=way, user=user)
                aloud = await judge.assess(images, reasoning="aloud", user=user) if explain else rated
                return [_explained(outcome, words) for outcome, words in zip(rated, aloud, strict=True)]

            async for path, assessment in looked_at(files, lambda path: read_picture(path, consoles), look, consoles):
                show(path, assessment)
                judged += 1
        return judged == len(files)

    with loading(consoles, engines.profile):
        opened = engines.judge()
    all_judged &= asyncio.run(judge_all())
    if table.row_count:
        consoles.out.print(table)
    if len(files) == len(seen) == 1 and (drawn := drawing(seen[0], taxonomy)):
        consoles.out.print(drawn)
    if any(assessment.in_domain is False for assessment in seen):
        consoles.say(f"foreign: {UNFAMILIAR}")
    return all_judged


def _explained(outcome: AssessmentOutcome, words: AssessmentOutcome) -> AssessmentOutcome:
    """The rating with the reasons that were given aloud."""
    if not isinstance(outcome, Assessment):
        return outcome
    return replace(outcome, reasoning=words.reasoning if isinstance(words, Assessment) else "")


def _record(path: Path, assessment: Assessment, explain: bool, taxonomy: str) -> dict[str, Any]:
    record = {
        "path": str(path),
        "valence": round(assessment.valence, 4),
        "arousal": round(assessment.arousal, 4),
        "emotion": assessment.emotion,
        "confidence": round(assessment.confidence, 4),
        "in_domain": assessment.in_domain,
        "domain_score": None if assessment.domain_score is None else round(assessment.domain_score, 4),
        "dominance": None if assessment.dominance is None else round(assessment.dominance, 4),
        "valence_distribution": _distribution(assessment.valence_distribution),
        "arousal_distribution": _distribution(assessment.arousal_distribution),
        "dominance_distribution": _distribution(assessment.dominance_distribution),
        "emotions": {name: round(share, 4) for name, share in assessment.ranking(taxonomy).items()},
    }
    return {**record, "reasoning": assessment.reasoning} if explain else record


def _distribution(over: Distribution | None) -> dict[str, Any] | None:
    if over is None:
        return None
    shares = [round(share, 4) for share in over.shares]
    return {"shares": shares, "low": round(over.low, 4), "high": round(over.high, 4)}


def _explain(path: Path, assessment: Assessment, taxonomy: str, consoles: Consoles) -> None:
    """The image's name, its numbers, and the judge's words under them."""
    valence, arousal, emotion, confidence = _values(assessment)
    consoles.out.print(str(path), style="bold", soft_wrap=True)
    consoles.say(f"  valence {valence}, arousal {arousal}, {emotion} {confidence}")
    if assessment.in_domain is False:
        consoles.say(f"  {UNFAMILIAR}")
    if drawn := drawing(assessment, taxonomy):
        consoles.out.print(drawn)
    consoles.out.print(Padding(assessment.reasoning or "No reason given.", (0, 0, 1, 2)))


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
