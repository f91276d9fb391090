"""How long a prompt may be: a text encoder cuts what it can't hold, so the loop shortens it first, and says so.

The loop has no tokenizer: which one counts belongs to the generator, on the other side of the wire. It estimates
instead, on the careful side for the byte-pair vocabulary of CLIP, where nearly every English word of up to eight
letters is one token, punctuation marks are one each, and other scripts take about one token a character.
"""

from __future__ import annotations

import re
from itertools import accumulate
from math import ceil

_LETTERS_PER_TOKEN = 8
_TOKENS = re.compile(r"[A-Za-z0-9]+|[^\sA-Za-z0-9]")
_PHRASE = re.compile(r"[^,.;:!?]*[,.;:!?]+|[^,.;:!?]+$")
_WORD = re.compile(r"\s*\S+")


def estimated_tokens(text: str) -> int:
    """About how many tokens a CLIP text encoder makes of the text, without its start and end tokens."""
    return sum(ceil(len(piece) / _LETTERS_PER_TOKEN) for piece in _TOKENS.findall(text))


def shortened(prompt: str, tokens: int) -> str:
    """The prompt itself where it has room, else as many of its first phrases as fit.

    Phrases end at punctuation. Where not even the first one fits, it ends at a word instead.
    """
    if estimated_tokens(prompt) <= tokens:
        return prompt
    return _leading(_PHRASE, prompt, tokens) or _leading(_WORD, prompt, tokens)


def _leading(piece: re.Pattern[str], prompt: str, tokens: int) -> str:
    """The longest run of leading pieces that fits, without the punctuation that joined it to the rest."""
    starts = [start.rstrip(" ,;:") for start in accumulate(piece.findall(prompt))]
    return max((start for start in starts if estimated_tokens(start) <= tokens), key=len, default="")
