"""What a group of pictures is asked for: a prompt and a feeling."""

from __future__ import annotations

from dataclasses import dataclass

from emofeedback.domain.affect import AffectPoint, target_phrase


@dataclass(frozen=True, kw_only=True)
class Condition:
    """What one group is asked for."""

    prompt: str
    """A neutral prompt: subject and place, no mood."""
    target: AffectPoint

    @property
    def caption(self) -> str:
        """The prompt with the numeric target, as the generator reads it."""
        return f"{self.prompt}, {target_phrase(self.target)}"
