"""Reads the agent's replies to `optimizer.prompts`: the textual gradient and the update. Pure functions."""

from __future__ import annotations

import json
import re

from emofeedback.domain.text import one_line


class UnreadableReply(ValueError):
    """The model's reply holds no analysis or no prompt, even after repair; the message says what it held."""


def parse_gradient(reply: str) -> str:
    """The analysis in one line, without tags, fences or quotes around it.

    Raises:
        UnreadableReply: nothing is left to read.
    """
    analysis = one_line(_unwrap(_TAGS.sub(" ", reply)))
    if not _has_letter(analysis):
        raise UnreadableReply(f"the reply holds no analysis: {_quote(reply)}")
    return analysis


def parse_update(reply: str) -> str:
    """The rewritten prompt in one line.

    Forgiven: a missing or repeated tag, code fences, quotes around the prompt, "Here is the new prompt:"
    before it, line breaks in it, a JSON object instead of the tag.

    Raises:
        UnreadableReply: no prompt, or more than one text that could be it.
    """
    prompt = one_line(_unwrap(_prompt_text(reply)))
    if not _has_letter(prompt):
        raise UnreadableReply(f"the reply holds no prompt: {_quote(reply)}")
    return prompt


_TAGS = re.compile(r"</?(?:think|answer|analysis|prompt)>", re.IGNORECASE)


_THOUGHTS = re.compile(r"<think>.*?</think>", re.IGNORECASE | re.DOTALL)


_TAGGED = re.compile(r"<prompt>(.*?)(?=</?prompt>|$)", re.IGNORECASE | re.DOTALL)


_JSON_PROMPT = re.compile(r'"prompt"\s*:\s*("(?:[^"\\]|\\["\\/bfnrt])*")', re.IGNORECASE)


_FENCE = re.compile(r"```\w*")


_CHATTER = re.compile(r"^[^:\n]{0,60}\bprompt\b[^:\n]{0,20}:\s*", re.IGNORECASE)


_PARAGRAPH = re.compile(r"\n\s*\n")


_QUOTES = "\"'`\u201c\u201d\u2018\u2019*"


def _prompt_text(reply: str) -> str:
    """The part of the reply that is the prompt: inside its tag, else after the chatter."""
    reply = _FENCE.sub("\n\n", _THOUGHTS.sub(" ", reply))
    tagged = [inside for inside in map(str, _TAGGED.findall(reply)) if _has_letter(inside)]
    if tagged:
        return next(filter(_has_letter, _PARAGRAPH.split(tagged[-1])))
    if json_prompt := _JSON_PROMPT.search(reply):
        return str(json.loads(json_prompt[1], strict=False))
    paragraphs = [text for text in map(_without_chatter, _PARAGRAPH.split(reply)) if _has_letter(text)]
    if len(paragraphs) > 1:
        raise UnreadableReply(f"the reply has {len(paragraphs)} paragraphs and no <prompt>: {_quote(reply)}")
    return paragraphs[0] if paragraphs else ""


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
