"""How long a rewrite may be: a text encoder can't read more than its limit, so the loop shortens it first.

The loop has no tokenizer: which one counts belongs to the generator, on the other side of the wire. It estimates
instead, on the careful side for the byte-pair vocabulary of CLIP, where nearly every English word of up to eight
letters is one token, punctuation marks are one each, and other scripts take about one token a character.
"""

from __future__ import annotations

import re
from math import ceil

_LETTERS_PER_TOKEN = 8
_TOKENS = re.compile(r"[A-Za-z0-9]+|[^\sA-Za-z0-9]")


def estimated_tokens(text: str) -> int:
    """About how many tokens a CLIP text encoder makes of the text, without its start and end tokens."""
    return sum(ceil(len(piece) / _LETTERS_PER_TOKEN) for piece in _TOKENS.findall(text))
