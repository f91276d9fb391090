"""The report's two drawings as inline SVG: the path on the valence-arousal plane, and the error round by round.

Colors that must follow the reader's light or dark scheme are CSS classes of `style.css`; those of the rounds are
chosen to be seen on both.
"""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from emofeedback.domain.affect import AffectPoint
from emofeedback.domain.assessment import Assessment
from emofeedback.domain.optimization import Answer, Candidate, Round
from emofeedback.runs.report.ground import MARGIN, SIDE, emotion_words, place, plane_ground

_RAMP = ((88, 104, 222), (158, 76, 202), (218, 80, 146), (240, 138, 66))
"""From the first round (cool) to the last (warm)."""


def round_color(index: int, rounds: int) -> str:
    """The color of a round, as CSS: neighbours on a ramp."""
    place = index / max(rounds - 1, 1) * (len(_RAMP) - 1)
    low = min(int(place), len(_RAMP) - 2)
    share = place - low
    red, green, blue = (round(a + (b - a) * share) for a, b in zip(_RAMP[low], _RAMP[low + 1], strict=True))
    return f"rgb({red} {green} {blue})"


def plane_svg(target: AffectPoint, rounds: Sequence[Round], answer: Answer | None) -> str:
    """Every judged candidate as a dot, the best of each round joined to a path, the target as a cross-hair."""
    parts = [plane_ground(), *emotion_words(), _cross_hair(target)]
    best_points = []
    for finished in rounds:
        color = round_color(finished.index, len(rounds))
        for candidate in finished.candidates:
            if isinstance(candidate.outcome, Assessment):
                x, y = place(candidate.outcome.point)
                title = _candidate_title(finished, candidate, candidate.outcome)
                parts.append(f'<circle class="dot" cx="{x:.1f}" cy="{y:.1f}" r="4" fill="{color}">{title}</circle>')
        best = None if finished.best is None else finished.candidates[finished.best].outcome
        if isinstance(best, Assessment):
            best_points.append((finished, place(best.point)))
    path = " ".join(f"{x:.1f},{y:.1f}" for _, (x, y) in best_points)
    parts.append(f'<polyline class="path" points="{path}"/>')
    for finished, (x, y) in best_points:
        color = round_color(finished.index, len(rounds))
        is_answer = answer is not None and (answer.round, answer.index) == (finished.index, finished.best)
        if is_answer:
            parts.append(f'<circle class="halo" cx="{x:.1f}" cy="{y:.1f}" r="14"/>')
        parts.append(
            f'<circle class="node" cx="{x:.1f}" cy="{y:.1f}" r="9.5" fill="{color}"/>'
            f'<text class="number" x="{x:.1f}" y="{y + 4:.1f}">{finished.index + 1}</text>'
        )
    size = SIDE + 2 * MARGIN
    label = f"The plane of valence and arousal with the target at {target.valence:g}, {target.arousal:g}"
    return f'<svg class="plane" viewBox="0 0 {size} {size}" role="img" aria-label="{label}">{"".join(parts)}</svg>'


def losses_svg(rounds: Sequence[Round]) -> str:
    """The error of every candidate by round; the line joins the best of each."""
    width, height, left, bottom, top = 480, 190, 36, 26, 12
    losses = [[c.loss for c in finished.candidates if c.loss is not None] for finished in rounds]
    highest = max((loss for of_round in losses for loss in of_round), default=1.0) or 1.0
    step = (width - left) / max(len(rounds), 1)

    def spot(index: int, loss: float) -> tuple[float, float]:
        return left + step * (index + 0.5), top + (height - top - bottom) * (1 - loss / highest)

    parts = []
    for tick in _ticks(highest):
        _, y = spot(0, tick)
        parts.append(
            f'<line class="grid" x1="{left}" x2="{width}" y1="{y:.1f}" y2="{y:.1f}"/>'
            f'<text class="tick" x="{left - 8}" y="{y + 4:.1f}" text-anchor="end">{tick:g}</text>'
        )
    best_points = []
    for index, (finished, of_round) in enumerate(zip(rounds, losses, strict=True)):
        color = round_color(index, len(rounds))
        spread = min(6.0, step / (len(of_round) + 2))
        for position, loss in enumerate(of_round):
            x, y = spot(index, loss)
            x += (position - (len(of_round) - 1) / 2) * spread
            parts.append(f'<circle class="dot" cx="{x:.1f}" cy="{y:.1f}" r="3.5" fill="{color}"/>')
        x, _ = spot(index, 0)
        parts.append(f'<text class="tick" x="{x:.1f}" y="{height - 6}" text-anchor="middle">round {index + 1}</text>')
        best_loss = None if finished.best is None else finished.candidates[finished.best].loss
        if best_loss is not None:
            best_points.append((index, spot(index, best_loss)))
    path = " ".join(f"{x:.1f},{y:.1f}" for _, (x, y) in best_points)
    parts.append(f'<polyline class="path" points="{path}"/>')
    for index, (x, y) in best_points:
        color = round_color(index, len(rounds))
        parts.append(f'<circle class="node" cx="{x:.1f}" cy="{y:.1f}" r="5.5" fill="{color}"/>')
    label = "Error of every image, round by round"
    return f'<svg viewBox="0 0 {width} {height}" role="img" aria-label="{label}">{"".join(parts)}</svg>'


def _cross_hair(target: AffectPoint) -> str:
    x, y = place(target)
    low, high = MARGIN, MARGIN + SIDE
    return (
        f'<g class="target"><line x1="{x:.1f}" x2="{x:.1f}" y1="{low}" y2="{high}"/>'
        f'<line x1="{low}" x2="{high}" y1="{y:.1f}" y2="{y:.1f}"/>'
        f'<circle cx="{x:.1f}" cy="{y:.1f}" r="19"/><circle cx="{x:.1f}" cy="{y:.1f}" r="3" class="bull"/></g>'
    )


def _candidate_title(finished: Round, candidate: Candidate, assessment: Assessment) -> str:
    text = (
        f"round {finished.index + 1}, image {candidate.index + 1}: "
        f"valence {assessment.valence:.1f}, arousal {assessment.arousal:.1f}, {assessment.emotion}"
    )
    return f"<title>{escape(text)}</title>"


def _ticks(highest: float) -> list[float]:
    """Round numbers from 0 to the highest, three to six of them."""
    step = next(step for step in (0.1, 0.25, 0.5, 1.0, 2.0, 4.0) if highest / step <= 5)
    return [step * i for i in range(int(highest / step) + 1)]
