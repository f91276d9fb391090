"""What a judge says of one picture, drawn for a terminal: the nine ratings of each axis, a bar for each emotion."""

from __future__ import annotations

from rich.table import Table

from emofeedback.domain.assessment import Assessment, Distribution

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
    for axis in ("valence", "arousal"):
        over: Distribution | None = getattr(assessment, f"{axis}_distribution")
        if over is not None:
            rating = getattr(assessment, axis)
            table.add_row(axis, f"{rating:.2f}", f"{columns(over)}  {over.low:.1f} to {over.high:.1f}")
    if assessment.dominance is not None:
        table.add_row("dominance", f"{assessment.dominance:.2f}", "")
    for name, share in assessment.ranking(taxonomy).items():
        if share >= _LEAST:
            table.add_row(name, f"{share:.0%}", "█" * max(1, round(_BAR * share)))
    return table if table.row_count else None


def columns(over: Distribution) -> str:
    """A character for each rating from 1 to 9, the higher the likelier; the likeliest is full."""
    most = max(over.shares)
    return "".join(_HEIGHTS[round((len(_HEIGHTS) - 1) * share / most)] for share in over.shares)
