"""Builds a data set of a made-up EmoSet with a judge that follows a script; run as a program, so that it can be killed.

python emoset_building.py SOURCE OUT SECONDS_A_CALL
"""

from __future__ import annotations

import asyncio
import hashlib
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn, cast

from emofeedback.domain.affect import LEXICON
from emofeedback.domain.assessment import Conversation, Decoding, Judge
from emofeedback.domain.generation import ModelInfo
from emofeedback_trainer.data.build_emoset import EmosetBuild, build_emoset
from emofeedback_trainer.data.reading import read
from emofeedback_trainer.data.records import BadRow

BUILD = EmosetBuild(train=150, test=50, seed=5)


@dataclass(frozen=True)
class CaptioningJudge:
    """Says something else of every picture and question, always the same; nothing where the reply would begin so."""

    name: str = "scripted"
    seconds: float = 0.0
    speechless: str = "none"
    """Replies that begin with this hexadecimal digit are empty."""

    async def converse(self, conversations: Sequence[Conversation], decoding: Decoding) -> list[str]:
        await asyncio.sleep(self.seconds)
        return [self._reply(conversation) for conversation in conversations]

    async def model(self) -> ModelInfo:
        return ModelInfo(name=self.name, digest="sha256:" + "2" * 64)

    def _reply(self, conversation: Conversation) -> str:
        image, question = conversation[0].parts
        assert isinstance(image, bytes)
        digest = hashlib.sha256(image + str(question).encode()).hexdigest()
        return "" if digest.startswith(self.speechless) else f'Caption: "a picture of {digest[:8]}."\n'


@dataclass(frozen=True)
class CaptioningEngines:
    """Gives every worker such a judge."""

    scripted: CaptioningJudge = CaptioningJudge()
    profile: str | None = None
    memory: str = ""

    def check_policy(self, name: str) -> None:
        raise NotImplementedError

    @asynccontextmanager
    async def judge(self) -> AsyncIterator[Judge]:
        yield cast(Judge, self.scripted)  # captions are all that it is asked for

    def optimizer(self) -> NoReturn:
        raise NotImplementedError

    def services(self) -> NoReturn:
        raise NotImplementedError


def build(source: Path, out: Path, judge: CaptioningJudge, settings: EmosetBuild = BUILD) -> list[BadRow]:
    return build_emoset(
        read("emoset", source).samples,
        out,
        settings,
        statistics=LEXICON,
        engines=CaptioningEngines(judge),
        made_by="a test",
        show=lambda part, done, wanted: None,
    )


if __name__ == "__main__":
    build(Path(sys.argv[1]), Path(sys.argv[2]), CaptioningJudge(seconds=float(sys.argv[3])))
