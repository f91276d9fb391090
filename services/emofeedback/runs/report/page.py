"""The page of the report. All text of the run is escaped, all images are inlined, nothing is fetched."""

from __future__ import annotations

import re
from collections.abc import Callable
from difflib import SequenceMatcher
from html import escape
from pathlib import Path

from emofeedback.domain.affect import describe
from emofeedback.domain.assessment import Assessment
from emofeedback.domain.generation import ModelInfo
from emofeedback.domain.optimization import Answer, Candidate, Rejection, Round
from emofeedback.runs.directory import RunDirectory
from emofeedback.runs.report.chart import losses_svg, plane_svg, round_color
from emofeedback.runs.report.document import document, picture
from emofeedback.runs.run import Criticism, OptimizationRun
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
    write_whole(path, render_report(directory.run, directory.image).encode())
    return path


def render_report(run: OptimizationRun, read_image: ImageReader) -> str:
    """The page as a whole."""
    rounds = "".join(_round(run, finished, read_image) for finished in run.rounds)
    return document(run.prompt, f"{_head(run)}{_hero(run, read_image)}{_figures(run)}{rounds}{_foot(run)}")


def prompt_diff(before: str, after: str) -> str:
    """The later prompt as HTML, words that went in `<del>`, words that came in `<ins>`."""
    old, new = _words(before), _words(after)
    parts = []
    for kind, i, j, k, m in SequenceMatcher(None, old, new, autojunk=False).get_opcodes():
        if kind == "equal":
            parts.append(escape(" ".join(new[k:m])))
            continue
        if i < j:
            parts.append(f"<del>{escape(' '.join(old[i:j]))}</del>")
        if k < m:
            parts.append(f"<ins>{escape(' '.join(new[k:m]))}</ins>")
    return re.sub(r" (?=(?:<(?:ins|del)>)?[,.;:!?])", "", " ".join(parts))


def _words(prompt: str) -> list[str]:
    """Words and punctuation marks, so that a comma behind a word is not a change of the word."""
    return re.findall(r"[^\s,.;:!?]+|[,.;:!?]", prompt)


# --- the top of the page -----------------------------------------------------------------------------------------


def _head(run: OptimizationRun) -> str:
    unknown = ""
    if run.unknown_words:
        words = ", ".join(f"<b>{escape(word)}</b>" for word in run.unknown_words)
        unknown = f'<p class="note">The generator has never seen {words}.</p>'
    return (
        f'<header><p class="brand">EmoFeedback</p><h1>{escape(run.prompt)}</h1>'
        f'<p class="wish">should feel <b>{describe(run.target)}</b>'
        f'<span class="point">valence {run.target.valence:g}</span>'
        f'<span class="point">arousal {run.target.arousal:g}</span></p>{unknown}</header>'
    )


def _hero(run: OptimizationRun, read_image: ImageReader) -> str:
    """What the same seed gave at first, the answer, and the way between them on the plane."""
    pictures = '<p class="note">No image could be judged yet.</p>'
    if run.best is not None:
        pictures = _hero_picture(run, run.best, read_image, "The answer")
        before = _same_seed_at_first(run, run.best)
        if before is not None:
            pictures = _hero_picture(run, before, read_image, "The same seed, first prompt") + pictures
    plane = plane_svg(run.target, run.rounds, run.best)
    caption = "Every image a dot, the best of each round numbered, the target under the cross-hair."
    return (
        f'<section class="hero"><div class="pictures">{pictures}</div>'
        f"<figure>{plane}<figcaption>{caption}</figcaption></figure></section>"
    )


def _same_seed_at_first(run: OptimizationRun, answer: Answer) -> Answer | None:
    """Where round one painted the answer's seed; None where the answer itself is of round one."""
    if answer.round == 0:
        return None
    seed = run.candidate(answer).seed
    found = next((c for c in run.rounds[0].candidates if c.seed == seed), None)
    return None if found is None else Answer(round=0, index=found.index, loss=found.loss or 0.0)


def _hero_picture(run: OptimizationRun, answer: Answer, read_image: ImageReader, title: str) -> str:
    candidate = run.candidate(answer)
    kind = "answer" if answer == run.best else "before"
    return (
        f'<figure class="{kind}">{_image(run, answer, read_image)}<figcaption><b>{title}</b>'
        f"<span>round {answer.round + 1}, image {answer.index + 1}</span>"
        f"<span>{_judgement(candidate)}</span></figcaption></figure>"
    )


def _figures(run: OptimizationRun) -> str:
    """The run in five numbers, and the errors drawn."""
    figures = []
    if run.rounds:
        first = [c.loss for c in run.rounds[0].candidates if c.loss is not None]
        if first:
            figures.append((f"{sum(first) / len(first):.2f}", "mean error of round one"))
    if run.best is not None:
        figures.append((f"{run.best.loss:.2f}", "error of the answer"))
    images = sum(len(finished.candidates) for finished in run.rounds)
    figures.append((str(images), f"images in {_count(len(run.rounds), 'round')}"))
    figures.append((f"{run.seconds:.0f} s", run.state))
    cells = "".join(f"<div><dt>{label}</dt><dd>{value}</dd></div>" for value, label in figures)
    drawing = f"<figure>{losses_svg(run.rounds)}</figure>" if run.rounds else ""
    return f'<section class="figures"><dl>{cells}</dl>{drawing}</section>'


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" + ("" if number == 1 else "s")


# --- one round ---------------------------------------------------------------------------------------------------


def _round(run: OptimizationRun, finished: Round, read_image: ImageReader) -> str:
    if finished.index == 0:
        prompt = escape(finished.prompt)
    else:
        prompt = prompt_diff(run.rounds[finished.index - 1].prompt, finished.prompt)
    highest = max((c.loss or 0.0 for r in run.rounds for c in r.candidates), default=0.0) or 1.0
    cards = "".join(_card(run, finished, c, read_image, highest) for c in finished.candidates)
    color = round_color(finished.index, len(run.rounds))
    return (
        f'<section class="round" style="--round: {color}">'
        f'<h2><span class="number">{finished.index + 1}</span>Round {finished.index + 1}'
        f"<small>{finished.seconds:.1f} s</small></h2>"
        f'<p class="prompt">{prompt}</p><div class="cards">{cards}</div>'
        f"{_criticism(run, run.criticisms.get(finished.index), read_image)}"
        f"{_analysis(finished)}{_rejections(finished.rejected)}</section>"
    )


def _card(run: OptimizationRun, finished: Round, candidate: Candidate, read_image: ImageReader, highest: float) -> str:
    place = Answer(round=finished.index, index=candidate.index, loss=candidate.loss or 0.0)
    is_answer = run.best is not None and (run.best.round, run.best.index) == (place.round, place.index)
    badges = [
        name
        for name, worn in (
            ("answer", is_answer),
            ("best", candidate.index == finished.best),
            ("worst", candidate.index == finished.worst and finished.worst != finished.best),
            ("off subject", not candidate.on_subject),
        )
        if worn
    ]
    labels = "".join(f'<span class="badge {name.replace(" ", "-")}">{name}</span>' for name in badges)
    if isinstance(candidate.outcome, Assessment):
        assessment = candidate.outcome
        text = (
            f'<p class="felt"><b>{assessment.emotion}</b>'
            f'<span title="probability of the emotion">{assessment.confidence:.0%}</span></p>'
            f"<p>V {assessment.valence:.1f} · A {assessment.arousal:.1f}"
            f'<span class="loss">error {candidate.loss or 0.0:.2f}</span></p>'
        )
    else:
        text = f'<p class="felt"><b>not judged</b></p><p>{escape(candidate.outcome.reason)}</p>'
    share = (candidate.loss or 0.0) / highest
    kinds = " ".join(badge.replace(" ", "-") for badge in badges)
    title = f"image {candidate.index + 1}, seed {candidate.seed}, alignment {candidate.alignment:.2f}"
    return (
        f'<article class="card {kinds}" title="{title}"><div class="frame">{_image(run, place, read_image)}'
        f'<div class="badges">{labels}</div></div><div class="bar"><i style="width: {share:.1%}"></i></div>'
        f"{text}</article>"
    )


def _criticism(run: OptimizationRun, criticism: Criticism | None, read_image: ImageReader) -> str:
    if criticism is None:
        return ""
    sides = ((criticism.best, criticism.best_reasoning, "best"), (criticism.worst, criticism.worst_reasoning, "worst"))
    quotes = "".join(
        f'<blockquote class="{kind}">{_image(run, answer, read_image)}<div>'
        f"<cite>The judge on the {kind}, {_name(answer)}</cite>"
        f"<p>{escape(reasoning) or 'No reason given.'}</p></div></blockquote>"
        for answer, reasoning, kind in sides
    )
    return f'<div class="criticism">{quotes}</div>'


def _analysis(finished: Round) -> str:
    if not finished.analysis:
        return ""
    outcome = ""
    if finished.optimized_prompt == finished.prompt:
        outcome = '<p class="note">No rewrite was usable, so the prompt stays.</p>'
    return f'<div class="analysis"><h3>What to change</h3><p>{escape(finished.analysis)}</p>{outcome}</div>'


def _rejections(rejected: tuple[Rejection, ...]) -> str:
    if not rejected:
        return ""
    items = "".join(f"<li><q>{escape(r.prompt)}</q><span>{escape(r.reason)}</span></li>" for r in rejected)
    summary = f"{_count(len(rejected), 'rewrite')} rejected"
    return f'<details class="rejected" open><summary>{summary}</summary><ul>{items}</ul></details>'


# --- pieces ------------------------------------------------------------------------------------------------------


def _image(run: OptimizationRun, answer: Answer, read_image: ImageReader) -> str:
    return picture(read_image(answer), f"{_name(answer)}: {_judgement(run.candidate(answer))}")


def _name(answer: Answer) -> str:
    return f"image {answer.index + 1} of round {answer.round + 1}"


def _judgement(candidate: Candidate) -> str:
    if not isinstance(candidate.outcome, Assessment):
        return "not judged"
    assessment = candidate.outcome
    point = f"V {assessment.valence:.1f} · A {assessment.arousal:.1f} · {assessment.emotion}"
    return point if candidate.loss is None else f"{point} · error {candidate.loss:.2f}"


def _foot(run: OptimizationRun) -> str:
    facts = [("profile", run.profile or "of the services"), ("seed", str(run.seed))]
    facts += [("generator", _model(run.generator)), ("judge", _model(run.judge))]
    facts += [("through the eyes of", run.user)] if run.user else []
    rows = "".join(f"<div><dt>{name}</dt><dd>{escape(value)}</dd></div>" for name, value in facts)
    scale = "Valence runs from 1, unpleasant, to 9, pleasant; arousal from 1, calm, to 9, stirred."
    return f"<footer><dl>{rows}</dl><p>Error is |ΔV| + |ΔA| to the target. {scale}</p></footer>"


def _model(model: ModelInfo | None) -> str:
    if model is None:
        return "not known yet"
    policy = f" · policy {model.policy}" if model.policy else ""
    return f"{model.name} · {model.digest[:19]}{policy}"
