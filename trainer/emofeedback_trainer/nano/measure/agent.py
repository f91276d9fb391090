"""The vision-language model as agent, measured as the loop uses it: do its analyses agree with the numbers and the
pictures, are its rewritten prompts usable, faithful and on the target's side?"""

from __future__ import annotations

import asyncio
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

from emofeedback.domain.affect import AffectPoint, distance
from emofeedback.domain.assessment import Assessment, AssessmentOutcome, Judge
from emofeedback.domain.optimization import GradientRequest, UpdateRequest
from emofeedback.domain.text import words
from emofeedback.optimizer.steps import estimate_gradient, update_prompt
from emofeedback.profiles.profile import OptimizerSettings
from emofeedback.storage.vocabulary import Vocabulary
from emofeedback_trainer.nano.measure.judge import judged, png
from emofeedback_trainer.nano.world.language import Situation
from emofeedback_trainer.nano.world.reading import in_the_mood, named_parts
from emofeedback_trainer.nano.world.rendering import render
from emofeedback_trainer.nano.world.scenes import affect

_CALL = 24
_THE_SAME = 0.1
"""Points of error in which there is no direction to be told."""
_FAR = 1.5
"""A target nearer than this to the bare prompt's own place asks for no cue."""


@dataclass(frozen=True, kw_only=True)
class Rewriting:
    """What became of one situation."""

    situation: Situation
    comparison: GradientRequest | None = None
    """What the agent was asked; None where the judge could not rate the pictures."""
    analysis: str = ""
    """Empty where no reply could be used."""
    prompt: str = ""
    """The rewrite; empty where none could be used and the prompt stays."""

    @property
    def usable(self) -> bool:
        """True where there is an analysis and a rewrite."""
        return bool(self.analysis and self.prompt)

    @property
    def direction_is_true(self) -> bool | None:
        """True where all that the analysis says of more and less agrees with its numbers; None without an analysis."""
        if self.comparison is None or not self.analysis:
            return None
        now, target = self.comparison.best.point, self.comparison.target
        away = {"pleasant": target.valence - now.valence, "stirring": target.arousal - now.arousal}
        claims = re.findall(r"(more|less) (pleasant|stirring)", self.analysis.replace("calmer", "less stirring"))
        if not claims:
            return distance(now, target) < _THE_SAME
        return all((away[word] > 0) == (more == "more") for more, word in claims)

    @property
    def names_what_was_seen(self) -> bool | None:
        """True where every part of a scene that the analysis names, but those to add, stands in the prompt or in what
        the judge said of the two pictures; None without an analysis."""
        if self.comparison is None or not self.analysis:
            return None
        asked = self.comparison
        seen = named_parts(f"{asked.prompt} {asked.best.reasoning} {asked.worst.reasoning}")
        return named_parts(re.sub(r"(?i)\badd [^;.]*", "", self.analysis)) <= seen

    def holds_only(self, vocabulary: Vocabulary) -> bool:
        """True where every word of the rewrite is the original's or the generator's."""
        return set(words(self.prompt)) <= (vocabulary.words or frozenset()) | set(words(self.situation.original))

    @property
    def keeps_subject(self) -> bool:
        """True where every word of the original's subject and place is in the rewrite."""
        words = set(re.findall(r"[\w'-]+", self.prompt.lower())) | {"a", "an"}
        return set(re.findall(r"[\w'-]+", self.situation.kept.lower())) <= words

    @property
    def on_targets_side(self) -> bool | None:
        """True where the cues that it names move the scene into the target's half of the plane, seen from where the
        bare scene lies; None where the bare scene is there anyway."""
        if self._away < _FAR:
            return None
        target, moved = self.situation.target, self._moved
        d_valence, d_arousal = target.valence - self._bare.valence, target.arousal - self._bare.arousal
        return (moved.valence - self._bare.valence) * d_valence + (moved.arousal - self._bare.arousal) * d_arousal > 0

    @property
    def nearer(self) -> bool | None:
        """True where its cues bring the scene nearer to the target than it is without any; None as above."""
        return None if self._away < _FAR else distance(self._moved, self.situation.target) < self._away

    @property
    def _bare(self) -> AffectPoint:
        return affect(in_the_mood(self.situation.aim, ""))

    @property
    def _moved(self) -> AffectPoint:
        return affect(in_the_mood(self.situation.aim, self.prompt))

    @property
    def _away(self) -> float:
        return distance(self._bare, self.situation.target)


async def rewritings(judge: Judge, situations: Sequence[Situation], settings: OptimizerSettings) -> list[Rewriting]:
    """Gradient and update for each situation as the loop does them, from its pictures and the judge's own numbers."""
    done = []
    for start in range(0, len(situations), _CALL):
        some = situations[start : start + _CALL]
        images = [png(render(scene)) for now in some for scene in (now.best, now.worst)]
        seen = zip(await judged(judge, images), await judge.assess(images, reasoning=True), strict=True)
        outcomes = [
            replace(short, reasoning=aloud.reasoning if isinstance(aloud, Assessment) else "")
            if isinstance(short, Assessment)
            else short
            for short, aloud in seen
        ]
        done += await asyncio.gather(
            *(
                _rewriting(now, images[2 * i : 2 * i + 2], outcomes[2 * i : 2 * i + 2], judge, settings)
                for i, now in enumerate(some)
            )
        )
    return done


async def _rewriting(
    now: Situation,
    images: Sequence[bytes],
    outcomes: Sequence[AssessmentOutcome],
    judge: Judge,
    settings: OptimizerSettings,
) -> Rewriting:
    best, worst = outcomes
    if not (isinstance(best, Assessment) and isinstance(worst, Assessment)):
        return Rewriting(situation=now)
    comparison = GradientRequest(
        prompt=now.prompt, target=now.target, best_image=images[0], best=best, worst_image=images[1], worst=worst
    )
    gradient = await estimate_gradient(comparison, judge=judge, settings=settings)
    revision = UpdateRequest(
        original_prompt=now.original, prompt=now.prompt, analysis=gradient.analysis, target=now.target
    )
    update = await update_prompt(revision, judge=judge, settings=settings)
    return Rewriting(
        situation=now,
        comparison=comparison,
        analysis=gradient.analysis,
        prompt="" if update.fell_back else update.prompt,
    )


def agent_metrics(done: Sequence[Rewriting], vocabulary: Vocabulary) -> dict[str, float]:
    """Shares in [0, 1], of all situations, of the analyses or of the rewrites. NaN where there was nothing to count."""
    usable = [one for one in done if one.usable]
    return {
        "direction_is_true": _share([true for one in done if (true := one.direction_is_true) is not None]),
        "names_what_was_seen": _share([true for one in done if (true := one.names_what_was_seen) is not None]),
        "usable": _share([one.usable for one in done if one.situation.known]),
        "usable_unknown": _share([one.usable for one in done if not one.situation.known]),
        "holds_only_known_words": _share([one.holds_only(vocabulary) for one in usable]),
        "keeps_known_subject": _share([one.keeps_subject for one in usable if one.situation.known]),
        "keeps_unknown_subject": _share([one.keeps_subject for one in usable if not one.situation.known]),
        "on_targets_side": _share([side for one in usable if (side := one.on_targets_side) is not None]),
        "nearer": _share([nearer for one in usable if (nearer := one.nearer) is not None]),
    }


def _share(verdicts: Sequence[bool]) -> float:
    return sum(verdicts) / len(verdicts) if verdicts else math.nan
