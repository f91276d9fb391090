"""The vision-language model as agent, measured: are its rewritten prompts usable, faithful and on the target's side?"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from emofeedback.domain.affect import AffectPoint, distance
from emofeedback.domain.assessment import Assessment, Decoding, Judge
from emofeedback.optimizer.parsing import UnreadableReply, parse_gradient, parse_update
from emofeedback.optimizer.prompts import gradient_conversation, update_conversation
from emofeedback_trainer.nano.measure.judge import judged, png
from emofeedback_trainer.nano.world.language import Situation
from emofeedback_trainer.nano.world.reading import in_the_mood
from emofeedback_trainer.nano.world.rendering import render
from emofeedback_trainer.nano.world.scenes import affect

_CALL = 24
_FAR = 1.5
"""A target nearer than this to the bare prompt's own place asks for no cue."""


@dataclass(frozen=True, kw_only=True)
class Rewriting:
    """What became of one situation; the texts are empty where the reply was unreadable."""

    situation: Situation
    analysis: str
    prompt: str

    @property
    def usable(self) -> bool:
        """True where both replies could be read."""
        return bool(self.analysis and self.prompt)

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


async def rewritings(judge: Judge, situations: Sequence[Situation]) -> list[Rewriting]:
    """Gradient and update for each situation, from its pictures and the judge's own numbers, replies taken greedily."""
    decoding = Decoding(max_new_tokens=160)
    done = []
    for start in range(0, len(situations), _CALL):
        some = situations[start : start + _CALL]
        images = [png(render(scene)) for now in some for scene in (now.best, now.worst)]
        outcomes = await judged(judge, images)
        asked = [
            gradient_conversation(now.prompt, now.target, images[2 * i], best, images[2 * i + 1], worst)
            for i, now in enumerate(some)
            if isinstance(best := outcomes[2 * i], Assessment) and isinstance(worst := outcomes[2 * i + 1], Assessment)
        ]
        readable = [
            now
            for i, now in enumerate(some)
            if all(isinstance(outcome, Assessment) for outcome in outcomes[2 * i : 2 * i + 2])
        ]
        done += [Rewriting(situation=now, analysis="", prompt="") for now in some if now not in readable]
        analyses = [_read(parse_gradient, reply) for reply in await judge.converse(asked, decoding)]
        updates = [
            update_conversation(now.original, now.prompt, analysis, now.target)
            for now, analysis in zip(readable, analyses, strict=True)
        ]
        for now, analysis, reply in zip(readable, analyses, await judge.converse(updates, decoding), strict=True):
            done.append(Rewriting(situation=now, analysis=analysis, prompt=_read(parse_update, reply)))
    return done


def agent_metrics(done: Sequence[Rewriting]) -> dict[str, float]:
    """Shares in [0, 1]; all but the first are of the usable replies. NaN where there was nothing to count."""
    usable = [one for one in done if one.usable]
    return {
        "usable": len(usable) / len(done),
        "keeps_known_subject": _share([one.keeps_subject for one in usable if one.situation.known]),
        "keeps_unknown_subject": _share([one.keeps_subject for one in usable if not one.situation.known]),
        "on_targets_side": _share([side for one in usable if (side := one.on_targets_side) is not None]),
        "nearer": _share([nearer for one in usable if (nearer := one.nearer) is not None]),
    }


def _share(verdicts: Sequence[bool]) -> float:
    return sum(verdicts) / len(verdicts) if verdicts else math.nan


def _read(parse: Callable[[str], str], reply: str) -> str:
    try:
        return parse(reply)
    except UnreadableReply:
        return ""
