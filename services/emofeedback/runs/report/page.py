"""The report of a run of the loop (`templates/run.html`): what the page says, and what it is asked to show."""

from __future__ import annotations

import re
from collections.abc import Callable
from difflib import SequenceMatcher
from functools import partial
from pathlib import Path

from markupsafe import Markup

from emofeedback.domain.affect import describe
from emofeedback.domain.assessment import INTERVAL, Assessment
from emofeedback.domain.generation import ModelInfo
from emofeedback.domain.optimization import Answer, Candidate, Round
from emofeedback.runs.directory import RunDirectory
from emofeedback.runs.report.chart import losses_svg, plane_svg, round_color
from emofeedback.runs.report.document import STYLE, environment
from emofeedback.runs.run import OptimizationRun
from emofeedback.storage.files import write_whole

REPORT = "report.html"

ImageReader = Callable[[Answer], bytes]
"""Gives the PNG of an image of a finished round."""


def write_report(directory: RunDirectory) -> Path:
    """Writes `report.html` into a run directory, whether the run is finished or not; returns its path.

    Raises:
        ResourceExhausted, FailedPrecondition: as `storage.files.write_whole`.
    """
    path = directory.path / REPORT
    write_whole(path, render_report(directory.run, directory.image).encode(errors="backslashreplace"))
    return path


def render_report(run: OptimizationRun, read_image: ImageReader) -> str:
    """The page as a whole."""
    pages = environment()
    pages.tests["assessed"] = lambda outcome: isinstance(outcome, Assessment)
    return pages.get_template("run.html").render(
        style=STYLE,
        run=run,
        feeling=describe(run.request.target),
        before=_same_seed_at_first(run),
        numbers=_numbers(run),
        facts=_facts(run),
        highest=max((c.loss or 0.0 for r in run.rounds for c in r.candidates), default=0.0) or 1.0,
        plane=Markup(plane_svg(run.request.target, run.rounds, run.best)),
        losses=Markup(losses_svg(run.rounds)),
        image=read_image,
        answer_of=_answer_of,
        place_of=_place_of,
        judgement=_judgement,
        shares=_shares,
        intervals=_intervals,
        marks_of=partial(_marks, run),
        changed_prompt=partial(_changed_prompt, run),
        color_of=lambda finished: round_color(finished.index, len(run.rounds)),
        count=_count,
    )


def prompt_diff(before: str, after: str) -> Markup:
    """The later prompt as HTML, words that went in `<del>`, words that came in `<ins>`."""
    old, new = _words(before), _words(after)
    parts = []
    for kind, i, j, k, m in SequenceMatcher(None, old, new, autojunk=False).get_opcodes():
        if kind == "equal":
            parts.append(Markup.escape(" ".join(new[k:m])))
            continue
        if i < j:
            parts.append(Markup("<del>{}</del>").format(" ".join(old[i:j])))
        if k < m:
            parts.append(Markup("<ins>{}</ins>").format(" ".join(new[k:m])))
    return Markup(re.sub(r" (?=(?:<(?:ins|del)>)?[,.;:!?])", "", " ".join(parts)))


def _words(prompt: str) -> list[str]:
    """Words and punctuation marks, so that a comma behind a word is not a change of the word."""
    return re.findall(r"[^\s,.;:!?]+|[,.;:!?]", prompt)


def _changed_prompt(run: OptimizationRun, finished: Round) -> str:
    if finished.index == 0:
        return finished.prompt
    return prompt_diff(run.rounds[finished.index - 1].prompt, finished.prompt)


def _same_seed_at_first(run: OptimizationRun) -> Answer | None:
    """Where round one has the answer's seed; None where there is no answer, or it is of round one itself."""
    if run.best is None or run.best.round == 0:
        return None
    seed = run.candidate(run.best).seed
    found = next((c for c in run.rounds[0].candidates if c.seed == seed), None)
    return None if found is None else _answer_of(run.rounds[0], found)


def _numbers(run: OptimizationRun) -> list[tuple[str, str]]:
    """The run in a few numbers, each with what it is."""
    first = [c.loss for c in run.rounds[0].candidates if c.loss is not None] if run.rounds else []
    images = sum(len(finished.candidates) for finished in run.rounds)
    return [
        *([(f"{sum(first) / len(first):.2f}", "mean error of round one")] if first else []),
        *([(f"{run.best.loss:.2f}", "error of the answer")] if run.best else []),
        (str(images), f"images in {_count(len(run.rounds), 'round')}"),
        (f"{run.seconds:.0f} s", run.state),
    ]


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" + ("" if number == 1 else "s")


def _marks(run: OptimizationRun, finished: Round, candidate: Candidate) -> list[str]:
    """What a candidate is, as the badges on its card."""
    marks = {
        "answer": run.best is not None and (run.best.round, run.best.index) == (finished.index, candidate.index),
        "best": candidate.index == finished.best,
        "worst": candidate.index == finished.worst and finished.worst != finished.best,
        "imagined": candidate.imagined is True,
        "off subject": not candidate.on_subject,
        "unfamiliar": isinstance(candidate.outcome, Assessment) and candidate.outcome.in_domain is False,
    }
    return [mark for mark, worn in marks.items() if worn]


def _answer_of(finished: Round, candidate: Candidate) -> Answer:
    return Answer(round=finished.index, index=candidate.index, loss=candidate.loss or 0.0)


def _place_of(answer: Answer) -> str:
    return f"image {answer.index + 1} of round {answer.round + 1}"


def _judgement(candidate: Candidate) -> str:
    if not isinstance(candidate.outcome, Assessment):
        return "not judged"
    assessment = candidate.outcome
    third = "" if assessment.dominance is None else f" · D {assessment.dominance:.1f}"
    point = f"V {assessment.valence:.1f} · A {assessment.arousal:.1f}{third} · {assessment.emotion}"
    return point if candidate.loss is None else f"{point} · error {candidate.loss:.2f}"


def _shares(assessment: Assessment) -> str:
    """`awe 71 %, contentment 20 %, ...`, as far as it isn't 0 %."""
    return ", ".join(f"{name} {share:.0%}" for name, share in assessment.ranking().items() if share >= 0.005)


def _intervals(assessment: Assessment) -> str:
    """`80 % within: valence 5.8 to 7.1, arousal 2.4 to 3.9`, as far as it is known."""
    axes = {
        "valence": assessment.valence_distribution,
        "arousal": assessment.arousal_distribution,
        "dominance": assessment.dominance_distribution,
    }
    known = [f"{axis} {over.low:.1f} to {over.high:.1f}" for axis, over in axes.items() if over is not None]
    return f"{INTERVAL:.0%} within: {', '.join(known)}" if known else ""


def _facts(run: OptimizationRun) -> list[tuple[str, str]]:
    return [
        ("profile", run.profile or "of the services"),
        ("seed", str(run.request.seed)),
        ("generator", _model(run.generator)),
        ("judge", _model(run.judge)),
        *([("through the eyes of", run.request.user)] if run.request.user else []),
    ]


def _model(model: ModelInfo | None) -> str:
    if model is None:
        return "not known yet"
    policy = f" · policy {model.policy}" if model.policy else ""
    return f"{model.name} · {model.digest[:19]}{policy}"
