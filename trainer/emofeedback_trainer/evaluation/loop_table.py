"""The loop against luck as a table and a picture: what each way saves, and how the loop's rounds went."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean

from emofeedback_trainer.core.tables import table
from emofeedback_trainer.evaluation.course import BEYOND, Course, mean_course
from emofeedback_trainer.evaluation.loop import Choice, Way
from emofeedback_trainer.evaluation.metrics import estimate, reduction

REFERENCE = 24
"""The budget at which the ways are compared."""


@dataclass(frozen=True, kw_only=True)
class Standing:
    """One cell of the table: a way with a policy at a budget."""

    policy: str
    way: Way
    pictures: int
    runs: int
    independent: float
    judged: float
    judge_error: float
    saved: float
    """Share of the error of luck at `REFERENCE` pictures with the same policy that is saved; negative: it is more."""
    saved_interval: tuple[float, float]
    """95 %, paired bootstrap over the tasks."""
    saved_of_first: float
    """The same against luck with the first policy."""
    saved_of_first_interval: tuple[float, float]
    spread: float | None
    later: float | None
    course: Course | None
    """Mean over the runs."""


def standings(choices: Sequence[Choice], seed: int = 0) -> list[Standing]:
    """The table's cells, in the order of policies as they were measured, ways and budgets."""
    groups: dict[tuple[str, Way, int], list[Choice]] = {}
    for choice in choices:
        groups.setdefault((choice.policy, choice.way, choice.pictures), []).append(choice)
    policies = list(dict.fromkeys(choice.policy for choice in choices))
    found = []
    for (policy, way, pictures), made in groups.items():
        saved, interval = _saved(made, groups.get((policy, Way.LUCK, REFERENCE), ()), seed)
        of_first, of_first_interval = _saved(made, groups.get((policies[0], Way.LUCK, REFERENCE), ()), seed)
        courses = [choice.course for choice in made if choice.course is not None]
        spreads = [choice.spread for choice in made if choice.spread is not None]
        later = [choice.later for choice in made if choice.later is not None]
        found.append(
            Standing(
                policy=policy,
                way=way,
                pictures=pictures,
                runs=len(made),
                independent=fmean(choice.independent for choice in made),
                judged=fmean(choice.judged for choice in made),
                judge_error=fmean(choice.judge_error for choice in made),
                saved=saved,
                saved_interval=interval,
                saved_of_first=of_first,
                saved_of_first_interval=of_first_interval,
                spread=fmean(spreads) if spreads else None,
                later=fmean(later) if later else None,
                course=mean_course(courses) if courses else None,
            )
        )
    order = list(Way)
    return sorted(found, key=lambda cell: (policies.index(cell.policy), order.index(cell.way), cell.pictures))


def _saved(made: Sequence[Choice], reference: Sequence[Choice], seed: int) -> tuple[float, tuple[float, float]]:
    """Share of the reference's error that is saved on the tasks of both, and its interval. A task counts once, with the
    mean of its runs: they are not independent."""
    ours, theirs = _by_task(made), _by_task(reference)
    tasks = [task for task in ours if task in theirs]
    if not tasks:
        return float("nan"), (float("nan"), float("nan"))
    found = estimate(reduction, [ours[task] for task in tasks], [theirs[task] for task in tasks], seed=seed)
    return found.value, (found.low, found.high)


def _by_task(choices: Sequence[Choice]) -> dict[int, float]:
    """The mean error of each task's runs."""
    errors: dict[int, list[float]] = {}
    for choice in choices:
        errors.setdefault(choice.task, []).append(choice.independent)
    return {task: fmean(of) for task, of in errors.items()}


def markdown(cells: Sequence[Standing]) -> str:
    """The table, one row a cell, and behind it how the loop's rounds went."""
    if not cells:
        return "No runs."
    first = cells[0].policy
    several = any(cell.policy != first for cell in cells)
    header = [
        *("policy", "way", "pictures", "error, independent", "by the judge", "judge's own error"),
        f"saved against the best of {REFERENCE}, 95 %",
        *([f"against that of {first}"] if several else []),
        *("spread", "from a later round"),
    ]
    rows = [
        (
            *(c.policy, c.way, str(c.pictures), f"{c.independent:.2f}", f"{c.judged:.2f}", f"{c.judge_error:.2f}"),
            _interval(c.saved, c.saved_interval),
            *([_interval(c.saved_of_first, c.saved_of_first_interval)] if several else []),
            *(_share(c.spread), _share(c.later)),
        )
        for c in cells
    ]
    parts = [table(header, rows), f"{max(c.runs for c in cells)} runs a row."]
    courses = [(cell, cell.course) for cell in cells if cell.course]
    if courses:
        parts.append(_courses(courses))
    return "\n\n".join(parts)


def _courses(cells: Sequence[tuple[Standing, Course]]) -> str:
    header = [
        *("the loop's later rounds, by the independent judge", "pictures", f"beyond the target by {BEYOND:g}"),
        *("nearer on one axis, farther on the other", "no new prompt", "no picture nearer than those before"),
        "error that choosing cost",
    ]
    rows = [
        (
            *(cell.policy, str(cell.pictures), _share(went.overshot), _share(went.one_axis)),
            *(_share(went.repeated), _share(went.hopeless), f"{went.regret:.2f}"),
        )
        for cell, went in cells
    ]
    return table(header, rows)


def _interval(value: float, interval: tuple[float, float]) -> str:
    return "{:.0%} ({:.0%} to {:.0%})".format(value, *interval)


def draw(cells: Sequence[Standing]) -> bytes:
    """A PNG of the independent judge's error against pictures spent, a line for each way and policy."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 5), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    for policy, style in zip(dict.fromkeys(cell.policy for cell in cells), ("-", "--", ":"), strict=False):
        for way, color in zip(Way, ("tab:gray", "tab:orange", "tab:blue"), strict=True):
            points = [(c.pictures, c.independent) for c in cells if (c.policy, c.way) == (policy, way)]
            if points:
                axes.plot(*zip(*points, strict=True), style, color=color, marker="o", label=f"{policy}: {way}")
    axes.set(xscale="log", xlabel="pictures", ylabel="error of the choice, by the independent judge")
    spent = sorted({cell.pictures for cell in cells})
    axes.set_xticks(spent, [str(pictures) for pictures in spent])
    axes.minorticks_off()
    axes.grid(alpha=0.3)
    figure.legend(loc="outside right upper", fontsize="small")
    file = io.BytesIO()
    figure.savefig(file, dpi=100)
    return file.getvalue()


def _share(value: float | None) -> str:
    return "" if value is None else f"{value:.0%}"
