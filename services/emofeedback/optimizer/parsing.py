"""Reads the agent's replies to `optimizer.prompts`: the textual gradient and the update. Pure functions."""

from __future__ import annotations

import json
import re

from emofeedback.domain.replies import without_thoughts
from emofeedback.domain.text import one_line


class UnreadableReply(ValueError):
    """The model's reply holds no analysis or no prompt, even after repair; the message says what it held."""


def parse_gradient(reply: str) -> str:
    """The analysis in one line, without thoughts, tags, fences or quotes around it; a JSON object may hold it.

    Raises:
        UnreadableReply: nothing is left to read, or remains of JSON.
    """
    said = without_thoughts(reply, said="analysis")
    (said, _), *_ = sorted(_tagged(said, "analysis|answer"), key=lambda found: not found[1]) or [(said, False)]
    said = _from_json(said, "analysis")
    analysis = one_line(_unwrap(_TAGS.sub(" ", said)))
    if not _has_letter(analysis) or _JSON_REMAINS.search(analysis):
        raise UnreadableReply(f"the reply holds no analysis: {_quote(reply)}")
    return analysis


def parse_update(reply: str) -> str:
    """The rewritten prompt in one line.

    Forgiven: a missing or repeated tag, code fences, quotes around the prompt, "Here is the new prompt:"
    before it, line breaks in it, a JSON object instead of the tag. Thoughts, and what stands behind the prompt, are no
    part of it.

    Raises:
        UnreadableReply: no prompt, more than one text that could be it, or remains of JSON.
    """
    said = _FENCE.sub("\n\n", without_thoughts(reply))
    prompt = one_line(_unwrap(_from_json(_prompt_text(said, reply), "prompt")))
    if not _has_letter(prompt):
        raise UnreadableReply(f"the reply holds no prompt: {_quote(reply)}")
    if _JSON_REMAINS.search(prompt) or _TAG_REMAINS.search(prompt):
        raise UnreadableReply(f"the reply holds JSON or tags that can't be read: {_quote(reply)}")
    return prompt


_TAGS = re.compile(r"</?(?:answer|analysis|prompt)>", re.IGNORECASE)


_JSON_STRING = r'"(?:[^"\\]|\\(?:["\\/bfnrt]|u[0-9a-f]{4}))*"'


_JSON_REMAINS = re.compile(
    r"""^\s*[{\[]\s*["'\u201c]|["'\u201d]\s*[}\]]\s*$|["'\u201d]\s*:\s*["'\u201c{\[]|\\u[0-9a-f]{4}|\\[nrt"]""",
    re.IGNORECASE,
)
"""A brace before a quote, a quote before a brace at the end or before a colon, an escape: no sentence has them."""


_TAG_REMAINS = re.compile(r"</?\w{0,20}prompt", re.IGNORECASE)


_FENCE = re.compile(r"```\w*")


_CHATTER = re.compile(r"^[^:\n]{0,60}\bprompt\b[^:\n]{0,20}:\s*", re.IGNORECASE)


_PARAGRAPH = re.compile(r"\n\s*\n")


_NEXT_SENTENCE = re.compile(r"[^,\s]\s*\n\s*(?=[^\Wa-z\d_])")
"""A line break that a sentence could begin after, rather than the rest of a prompt."""


_ASIDE = re.compile(
    r"""(?:[.!?)"'\u201d]\s+|\()(?:I|I've|I'm|This|Note|Here|Hope|Let me|The (?:new|old|prompt|rewritten|updated))\b"""
    r"|\b[Nn]egative prompt\b"
)
"""The beginning of what a model says about the prompt that it has just written."""


_QUOTES = "\"'`\u201c\u201d\u2018\u2019*"


def _prompt_text(said: str, reply: str) -> str:
    """The part of what a reply says that is the prompt: inside its tag, else all of it without the chatter."""
    tagged = [(_PARAGRAPH.split(inside.strip())[0], closed) for inside, closed in _tagged(said, "prompt")]
    whole = {one_line(inside) for inside, closed in tagged if closed} or {
        one_line(inside) for inside, _ in tagged if not _goes_on(inside)
    }
    if len(whole) > 1:
        raise UnreadableReply(f"the reply has {len(whole)} different prompts: {_quote(reply)}")
    if tagged or re.search(r"<prompt\s?>", said, re.IGNORECASE):
        return whole.pop() if whole else ""
    # A closing tag whose opening one is missing ends the prompt.
    said = re.split("</prompt>", said, maxsplit=1, flags=re.IGNORECASE)[0]
    if re.search(r'"prompt"\s*:', said, re.IGNORECASE):
        return said
    paragraphs = [text for text in map(_without_chatter, _PARAGRAPH.split(said)) if _has_letter(text)]
    if len(paragraphs) > 1:
        raise UnreadableReply(f"the reply has {len(paragraphs)} paragraphs and no <prompt>: {_quote(reply)}")
    if paragraphs and _goes_on(paragraphs[0]):
        raise UnreadableReply(f"the reply says more than a prompt and has no <prompt>: {_quote(reply)}")
    return paragraphs[0] if paragraphs else ""


def _tagged(text: str, tags: str) -> list[tuple[str, bool]]:
    """What stands behind each opening tag, up to the next one, and whether that is its closing tag.

    Left out: what holds no letter, and what isn't closed where the tag is only a word of a sentence.
    """
    found = re.finditer(
        rf"<(?P<tag>{tags})\s?>(?P<inside>(?:(?!</?(?:{tags})\s?>).)*)(?P<close></(?P=tag)\s?>)?",
        text,
        re.IGNORECASE | re.DOTALL,
    )
    return [
        (str(match["inside"]), bool(match["close"]))
        for match in found
        if _has_letter(match["inside"]) and (match["close"] or _begins(text[max(0, match.start() - 4) : match.start()]))
    ]


def _begins(before: str) -> bool:
    """True where what stands before a tag ends a sentence or a line, so that the tag is no word of it."""
    return not before.strip(" ") or before.rstrip(" ")[-1] in "\n>.:!?)\"'"


def _from_json(text: str, key: str) -> str:
    """The text of the key where the text holds it once in JSON, else the text as it is."""
    found = set(re.findall(rf'"{key}"\s*:\s*({_JSON_STRING})', text, re.IGNORECASE))
    if len(found) != 1:
        return text
    # A lone surrogate is no character: nothing could encode it.
    value = str(json.loads(found.pop(), strict=False))
    return value if value.encode("utf-8", "replace").decode() == value else text


def _goes_on(text: str) -> bool:
    """True where behind a prompt without its closing tag something else may stand."""
    return bool(_NEXT_SENTENCE.search(text) or _ASIDE.search(text))


def _without_chatter(text: str) -> str:
    text = _CHATTER.sub("", _TAGS.sub(" ", text).strip())
    return "" if text.endswith(":") else text


def _unwrap(text: str) -> str:
    """Without code fences and without quotes that enclose the whole."""
    text = _FENCE.sub(" ", text).strip()
    while len(text) > 1 and text[0] in _QUOTES and text[-1] in _QUOTES:
        text = text[1:-1].strip()
    return text


def _has_letter(text: str) -> bool:
    return re.search(r"[^\W\d_]", text) is not None


def _quote(reply: str) -> str:
    line = one_line(reply)
    return repr(line if len(line) <= 80 else line[:80] + "…")
