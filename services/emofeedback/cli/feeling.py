"""What a judge says of one picture: drawn for a terminal, with the nine ratings of each axis and a bar for each
emotion, or taken as the feeling of others."""

from __future__ import annotations

import asyncio
from pathlib import Path

from rich.table import Table

from emofeedback.backends import Engines
from emofeedback.cli.display import loading
from emofeedback.cli.pictures import read_picture
from emofeedback.domain.affect import AffectPoint
from emofeedback.domain.assessment import Assessment, AssessmentOutcome, Distribution
from emofeedback.domain.errors import InvalidRequest
from emofeedback.observability.consoles import Consoles

UNFAMILIAR = "not a picture of this judge's world: its reading means little"

_HEIGHTS = "▁▂▃▄▅▆▇█"
_BAR = 24
"""Characters of a share of 1."""
_LEAST = 0.005
"""Shares below are not drawn: they would read 0 %."""


def drawing(assessment: Assessment, taxonomy: str) -> Table | None:
    """Ratings with their intervals and the emotions with their shares; None where the judge's probabilities aren't
    known.

    Args:
        taxonomy: as for `Assessment.ranking`.
    """
    table = Table.grid(padding=(0, 2), pad_edge=True)
    table.add_column()
    table.add_column(justify="right")
    table.add_column()
    for axis in ("valence", "arousal", "dominance"):
        over: Distribution | None = getattr(assessment, f"{axis}_distribution")
        rating: float | None = getattr(assessment, axis)
        if rating is not None and over is not None:
            table.add_row(axis, f"{rating:.2f}", f"{columns(over)}  {over.low:.1f} to {over.high:.1f}")
        elif rating is not None and axis == "dominance":  # which stands nowhere else
            table.add_row(axis, f"{rating:.2f}", "")
    for name, share in assessment.ranking(taxonomy).items():
        if share >= _LEAST:
            table.add_row(name, f"{share:.0%}", "█" * max(1, round(_BAR * share)))
    return table if table.row_count else None


def columns(over: Distribution) -> str:
    """A character for each rating from 1 to 9, the higher the likelier; the likeliest is full."""
    most = max(over.shares)
    return "".join(_HEIGHTS[round((len(_HEIGHTS) - 1) * share / most)] for share in over.shares)


def felt_in(path: Path, *, user: str, engines: Engines, consoles: Consoles) -> AffectPoint:
    """The point that a judge reads in a picture, to two places, which is said; and so is that it means little where the
    picture is not of the judge's world.

    Args:
        user: id of a person by whose calibration it is corrected; empty: uncorrected.

    Raises:
        InvalidRequest: it is no picture, or the judge gave no readable reply.
        EmoFeedbackError: the judge could not be reached or loaded.
    """
    image = read_picture(path, consoles)
    if image is None:
        raise InvalidRequest.of("feel_like", f"{path} can't be used")
    with loading(consoles, engines.profile):
        opened = engines.judge()

    async def look() -> AssessmentOutcome:
        async with opened as judge:
            [outcome] = await judge.assess([image], user=user)
            return outcome

    outcome = asyncio.run(look())
    if not isinstance(outcome, Assessment):
        raise InvalidRequest.of("feel_like", f"{path} gives no feeling: {outcome.reason}")
    valence, arousal = round(outcome.valence, 2), round(outcome.arousal, 2)
    consoles.note(f"{path} feels like valence {valence:.2f}, arousal {arousal:.2f} ({outcome.emotion})")
    if outcome.in_domain is False:
        consoles.note(f"{path}: {UNFAMILIAR}")
    return AffectPoint(valence, arousal)
