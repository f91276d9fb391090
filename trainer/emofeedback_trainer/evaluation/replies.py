"""What a model's free text says: which option of a closed question it chose, which emotions it ranked. Pure functions.

Total: whatever text comes in, an answer or None comes out. None of it knows the right answer.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence

from emofeedback.domain.replies import answer, plain

_LETTER = (
    r"(?<!not\s)(?P<{name}>[B-H]|A(?!\s+(?!and\b|as\b|because\b|for\b|in\b|is\b|or\b|since\b|with\b)[a-z])|[a-h](?=[\s*]*(?:[^\w\s'-]|$)))"
    r"(?![A-Za-z0-9'])"
)
"""A capital that is no article, or a small letter that ends what it stands in."""
_CONCLUSION = re.compile(
    r"(?i:\b(?:answer|choice|option)s?\b[^.:=!?\n]{0,60}?(?:\b(?:is|are|be)\b|[:=])[\s*:\"'(\[{]*(?:option\s+)?)"
    + _LETTER.format(name="letter")
)
"""`The correct answer is B`, `**Answer**: b`, `the best choice would be Option B`, `{"answer": "B"}`."""
_MARKED = re.compile(
    r"(?<![A-Za-z0-9'])(?<!not\s)(?:(?P<marked>[A-H])(?:\s*[:)\]}]|\.(?=\s|\*|$)|\*\*|$)|[Oo]ption\s+\**"
    + _LETTER.format(name="named")
    + ")"
)
"""`B: Yes.`, `B)`, `**B**`, `Option B`: a letter that stands for an option. A bare one may be the article A."""
_END_TOKEN = re.compile(r"<[^<>]{1,30}>\s*$")
"""`</s>`, which some published answers end with."""
_CONFIDENCE = re.compile(r"<confidence>([^<>]{1,40})</confidence>", re.IGNORECASE)
_NUMBER = re.compile(r"(\d{1,3}(?:\.\d*)?|\.\d+)\s*(%?)")
_FIRST = re.compile(
    r"[\s(\[{\"'*]*(?P<letter>[A-Ha-h])"
    r"(?:\s*[:)\]}\"';]|\.(?=\s|$)|\*\*|\s+-\s|\s*\n|\s*$|\s+(?:because|since|as|is|would)\b)"
)
"""`b`, `(b) yes`, `B because ...`: where an answer begins with a letter so dressed, even a small one is an option's."""
_ONE_THING = {"picture": "image", "pictures": "images", "figure": "image", "figures": "images", "photo": "image"}
_ARTICLES = {"the", "a", "an"}
_NUMBERED = (
    ("first image", "image 1"),
    ("second image", "image 2"),
    ("image one", "image 1"),
    ("image two", "image 2"),
)


def chosen_option(reply: str, options: Mapping[str, str]) -> str | None:
    """The letter of the option that a reply chooses; None where it chooses none.

    By letter first: the one that the reply concludes with, else the one that it begins with unless it goes through the
    options, else the last one that is marked as one, since models do so before they choose. Without a letter, by text:
    an option that the reply begins with, else the one that it mentions last.

    Args:
        options: texts by letter, A to H.
    """
    said = answer(reply)
    concluded, marked = list(_CONCLUSION.finditer(said)), list(_MARKED.finditer(said))
    first = [match for match in [_FIRST.match(said)] if match]
    if (
        first
        and not first[0][0].endswith("\n")
        and any(match["marked"] not in (None, first[0]["letter"].upper()) for match in marked)
    ):
        first = []
    for places in (concluded, first, marked):
        letters: list[str] = [next(filter(None, match.groups())).upper() for match in places]
        if known := [letter for letter in letters if letter in options]:
            return known[-1]
    return _by_text(_words(said), {letter: _words(text) for letter, text in options.items()})


def is_bare(reply: str, options: Mapping[str, str]) -> bool:
    """True where a reply is an option's letter or text and nothing else, so that there is nothing to interpret."""
    said = _words(_END_TOKEN.sub("", answer(reply)))
    return any(
        said in (_words(text), letter.lower(), f"{letter.lower()} {_words(text)}".strip())
        for letter, text in options.items()
    )


def is_ambiguous(options: Mapping[str, str]) -> bool:
    """True where two options read the same, so that a question has no one right answer."""
    return len({_words(text) for text in options.values()}) < len(options)


def named_emotions(reply: str, emotions: Collection[str]) -> tuple[str, ...]:
    """The emotions that a reply names, in its order, each once; those inside its last brackets, where it has such.

    Args:
        emotions: the words to look for, in lower case.
    """
    said = answer(reply)
    bracketed: list[str] = re.findall(r"\[([^\[\]]*)\]", said)
    for text in (*reversed(bracketed), said):
        found = [word for word in re.findall(r"[a-z]+", text.lower()) if word in emotions]
        if found:
            return tuple(dict.fromkeys(found))
    return ()


def named_candidate(reply: str, candidates: Sequence[str]) -> str | None:
    """The first of the candidates, in their own order, that begins a word of what a reply answers; None where none is.

    As VECBench's authors read replies, but that they take the letters anywhere: in "danger" anger is named for them.
    """
    said = answer(reply).lower()
    return next((word for word in candidates if re.search(rf"\b{re.escape(word.lower())}", said)), None)


def stated_confidence(reply: str) -> float | None:
    """What a reply says between its last confidence tags, in [0, 1], a percentage too; None where it says no number."""
    said = _CONFIDENCE.findall(plain(reply))
    number = _NUMBER.fullmatch(said[-1].strip(" {}\n")) if said else None
    if number is None:
        return None
    return min(float(number[1]) / (100 if number[2] else 1), 1.0)


def _by_text(reply: str, options: Mapping[str, str]) -> str | None:
    # Longer texts first: "image 1" also begins "image 1 and image 2".
    known = sorted((text, letter) for letter, text in options.items() if text)
    known.sort(key=lambda option: -len(option[0]))
    for text, letter in known:
        if f"{reply} ".startswith(f"{text} "):
            return letter
    mentions = {
        letter: f" {reply} ".rfind(f" {text} ") + len(text) for text, letter in known if f" {text} " in f" {reply} "
    }
    return max(mentions, key=lambda letter: mentions[letter]) if mentions else None


def _words(text: str) -> str:
    """Lower case, no punctuation, no articles, and one word for what both pictures are called."""
    words = re.sub(r"[^a-z0-9]+", " ", text.lower()).split()
    plain = " ".join(_ONE_THING.get(word, word) for word in words if word not in _ARTICLES)
    for said, meant in _NUMBERED:
        plain = plain.replace(said, meant)
    return plain
