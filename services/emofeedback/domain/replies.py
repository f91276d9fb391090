"""What a language model's reply says, apart from its dress and from what it only thought.

Both functions that change a reply keep its length, so that a place in it is still the place of the same token. All take
time that grows with the reply's length and no faster: rewards read thousands of replies, some of them degenerate.
"""

from __future__ import annotations

import re

_WIDE = {wide: wide - 0xFEE0 for wide in range(0xFF01, 0xFF5F)}
_SAME = {
    '"': "\u201c\u201d\u201e\u201f\u00ab\u00bb\u300c\u300d",
    "'": "\u2018\u2019\u201a\u201b",
    "-": "\u2010\u2011\u2012\u2013\u2014\u2015\u2212",
    ".": "\u3002",
    ",": "\u3001",
    "[": "\u3010",
    "]": "\u3011",
    " ": "`$\u200b\u200c\u200d\u2060\ufeff",
}
_PLAIN = _WIDE | {ord(said): ord(plain) for plain, dress in _SAME.items() for said in dress}

_THOUGHT = (
    r"(?:\w{1,20}[_:-])?(?:think|thought|reason|rational|reflect|analy[sz]|scratch|draft|plan|consider|deliberat|"
    r"critique|monolog|brainstorm|observ|expla|note|step|cot|guess|work|chain_of)\w{0,20}"
)
_THOUGHT_TAG = re.compile(
    rf"<\|?(?P<close>/|end_of_)?\s?(?P<name>{_THOUGHT})(?:\s[^<>]{{0,80}})?\|?>"
    r"|[\[\u25c1](?P<close2>/)?(?P<name2>think(?:ing)?)[\]\u25b7]"
    r"|<\|channel\|>(?:(?P<name3>analysis|commentary)|(?P<close3>final))(?:<\|message\|>)?",
    re.IGNORECASE,
)
_ANSWER = re.compile(r"<answer>((?:(?!</?answer>).)*)(</answer>)?", re.IGNORECASE | re.DOTALL)
_BOXED = re.compile(r"\\boxed\{(?:\\\w{1,20}\{)?([^{}]*)")


def plain(text: str) -> str:
    """The text with typographic quotes, dashes and full-width characters written plainly, one for one."""
    return text.translate(_PLAIN)


def without_thoughts(text: str, said: str = "") -> str:
    """The text with blanks where it thinks: between the tags of a thought, whatever these are called, before a closing
    tag that nothing opened (where a chat template opened it), and to the end where the thought was cut off.

    Args:
        said: a tag that looks like a thought's and isn't, such as `analysis` where an analysis is asked for.
    """
    depth: dict[str, int] = {}
    parts: list[str] = []
    spoken = 0
    for tag in _THOUGHT_TAG.finditer(text):
        name = (tag["name"] or tag["name2"] or "channel").lower().removeprefix("begin_of_")
        if name == said:
            continue
        if not (tag["close"] or tag["close2"] or tag["close3"]):
            if not depth:
                parts.append(text[spoken : tag.start()])
                spoken = tag.start()
            depth[name] = depth.get(name, 0) + 1
        elif name in depth:
            depth[name] -= 1
            if not depth[name]:
                del depth[name]
            if not depth:
                parts.append(" " * (tag.end() - spoken))
                spoken = tag.end()
        elif not depth:
            parts = [" " * tag.end()]
            spoken = tag.end()
    parts.append(" " * (len(text) - spoken) if depth else text[spoken:])
    return "".join(parts)


def thoughts(reply: str) -> str:
    """What a reply only thought, in one line and without tags; empty where it thought nothing."""
    whole = plain(reply)
    kept = without_thoughts(whole)
    # Blanks within a thought are alike on both sides, so they come out as the blanks that they are.
    thought = "".join(" " if one == other else one for one, other in zip(whole, kept, strict=True))
    return " ".join(_THOUGHT_TAG.sub(" ", thought).split())


def answer(reply: str) -> str:
    """What a reply answers, written plainly: what its last closed answer tags hold, else what an open one holds, else
    all that it says beside its thoughts; of that the last box, where it has one."""
    text = without_thoughts(plain(reply))
    tagged = [(match[1], bool(match[2])) for match in _ANSWER.finditer(text) if match[1].strip()]
    if tagged:
        closed = [inside for inside, ended in tagged if ended]
        text = (closed or [inside for inside, _ in tagged])[-1]
    boxed: list[str] = [inside for inside in _BOXED.findall(text) if inside.strip()]
    return (boxed[-1] if boxed else text).strip()
