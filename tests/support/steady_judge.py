"""A scripted judge for what is cut and gone on with."""

import zlib
from dataclasses import dataclass

from emofeedback.domain.assessment import Conversation, Decoding
from support.fakes import ScriptedJudge


@dataclass
class SteadyJudge(ScriptedJudge):
    """What it replies depends on what it is asked alone, not on what it was asked before."""

    def _reply(self, conversation: Conversation, decoding: Decoding) -> str:
        self.conversations.clear()
        reply = super()._reply(conversation, decoding)
        return reply.replace("version 1", f"version {zlib.crc32(repr(conversation).encode())}")
