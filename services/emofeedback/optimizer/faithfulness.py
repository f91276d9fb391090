"""What the agent writes, held against what is known: the numbers, what the judge saw, the user's words. Pure functions.

Models guess directions, see what is not there, misspell what they copy and drop a "without". So the loop computes what
can be computed and says it in the analysis itself, takes out what nothing bears out, and refuses a rewrite that holds
anything else than the user's words and those of the generator.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from emofeedback.domain.affect import AffectPoint, describe
from emofeedback.domain.text import one_line, words
from emofeedback.storage.vocabulary import Vocabulary

# --- the analysis ------------------------------------------------------------------------------------------------


def direction(now: AffectPoint, target: AffectPoint) -> str:
    """The way from a picture to the target in words: "more pleasant and calmer". Under half a point an axis is only
    named where the other one is as near, the farther of the two as "slightly more pleasant"."""
    ways = [
        (target.valence - now.valence, "less pleasant", "more pleasant"),
        (target.arousal - now.arousal, "calmer", "more stirring"),
    ]
    far = [more if away > 0 else less for away, less, more in ways if abs(away) >= _FAR]
    if far:
        return " and ".join(far)
    away, less, more = max(ways, key=lambda way: abs(way[0]))
    return f"slightly {more if away > 0 else less}" if abs(away) >= _SHOWN else "the same"


def faithful_analysis(
    analysis: str, *, target: AffectPoint, best: AffectPoint, worst: AffectPoint, seen: Sequence[str] = ()
) -> str:
    """The analysis with its direction computed, and without what the numbers or the pictures contradict.

    An aim ("To be calmer, add ...") is said by `direction`; where there is none, a sentence with it is put behind. A
    sentence that says more or less of something against the numbers goes. So does every reason and everything to take
    out that stands in none of the texts of `seen`: the prompt, and what the judge said of the two pictures. What to
    add is free. Where `seen` is empty, what is there is not known and not asked.

    Returns:
        The analysis; empty where nothing is left of it.
    """
    aim = f"To be {direction(best, target)},"
    points = {"target": target, "first": best, "second": worst}
    witnessed = " | ".join(map(_stems, seen))
    kept, aims = [], False
    for sentence in _SENTENCE_END.split(analysis):
        aimed = _AIM.sub(aim, sentence, count=1)
        rest = aimed.removeprefix(aim) if aimed != sentence else sentence
        if _contradicted(rest, points):
            continue
        said = _described(aimed, points)
        said = _borne_out(said, witnessed) if seen else said
        if words(said) and words(said) != words(aim):
            kept.append(said)
            aims = aims or aimed.startswith(aim)
    if kept and not aims:
        kept.append(f"The next picture should be {direction(best, target)}.")
    return " ".join(kept)


_FAR, _SHOWN = 0.5, 0.05
_SENTENCE_END = re.compile(r"(?<=[.!?])\s+")
_CHANGE = r"(?:add|take|remove|replace|use|include|introduce|leave|drop|keep|make|change)\b"
_AIM = re.compile(rf"^To\b(?:[^.;:]*,(?=\s+{_CHANGE})|[^,.;:]*,)")

_UP, _DOWN = "pleasant cheerful happy joyful positive uplifting", "unpleasant gloomy sad grim negative depressing"
_STIRRED, _CALM = "stirring exciting energetic intense lively thrilling tense", "calm peaceful serene quiet relaxed"
_SIGNS = {
    word: (axis, sign)
    for axis, sign, said in (
        ("valence", 1, f"{_UP} happier"),
        ("valence", -1, f"{_DOWN} sadder gloomier grimmer"),
        ("arousal", 1, f"{_STIRRED} livelier tenser"),
        ("arousal", -1, f"{_CALM} calmer quieter"),
        ("valence", 1, "valence"),
        ("arousal", 1, "arousal"),
    )
    for word in said.split()
}
_CLAIM = re.compile(
    r"\b(?:(?P<more>more|higher|greater|raise|raises|increase|increases)|(?P<less>less|lower|lowers|reduce|reduces"
    rf"|decrease|decreases))\s+(?:the\s+|its\s+)?(?P<word>{'|'.join(_SIGNS)})\b"
    r"|\b(?P<comparative>happier|sadder|gloomier|grimmer|livelier|tenser|calmer|quieter)\b",
    re.IGNORECASE,
)
_ABOUT = re.compile(r"^(?:the|in the)\s+(?:(?P<first>first|best)|(?P<second>second|worst))\b", re.IGNORECASE)
_FELT = re.compile(
    r"(?<=picture is )(?:very unpleasant|unpleasant|neutral|pleasant|very pleasant), "
    r"(?:very calm|calm|awake|stirring|thrilling)\b"
)


def _contradicted(sentence: str, points: dict[str, AffectPoint]) -> bool:
    """Whether the sentence says more or less of something against the numbers: of the way to the target, or of one
    picture beside the other or the target where it begins with that picture."""
    whose = _picture(sentence)
    origin, end = "first", "target"
    if whose:
        origin, end = "target" if "target" in sentence else {"first": "second", "second": "first"}[whose], whose
    for claim in _CLAIM.finditer(sentence):
        axis, sign = _SIGNS[(claim["word"] or claim["comparative"]).lower()]
        difference = getattr(points[end], axis) - getattr(points[origin], axis)
        if (-sign if claim["less"] else sign) * difference <= 0:
            return True
    return False


def _described(sentence: str, points: dict[str, AffectPoint]) -> str:
    """How the picture feels, in the words that its numbers have."""
    whose = _picture(sentence)
    return _FELT.sub(describe(points[whose]), sentence, count=1) if whose else sentence


def _picture(sentence: str) -> str:
    about = _ABOUT.match(sentence)
    return "" if about is None else "first" if about["first"] else "second"


_LIST = r"(?P<items>(?:(?!\s(?:to|so|which|that|because|for|add)\b)[^.;:])+)"
_REASONS = re.compile(rf"\s*,?\s*\b(?P<lead>because of|due to|thanks to)\s+{_LIST}", re.IGNORECASE)
_TAKEN_OUT = re.compile(
    rf"\s*(?:[,;]|\band\b)*\s*\b(?P<lead>take out|taking out|remove|removing|get rid of|leave out|drop)\s+{_LIST}"
    r"(?:\s+(?:to|so|which|that|because|for)\b[^,.;:]*)?",
    re.IGNORECASE,
)
_ADDED = re.compile(rf"\badd\s+{_LIST}", re.IGNORECASE)
_BETWEEN = re.compile(r",\s*(?:and\s+)?|\s+and\s+")
_LITTLE = {
    *("a", "an", "the", "some", "any", "this", "that", "it", "its", "their"),
    *("of", "in", "on", "at", "by", "with", "and", "or", "but", "is", "are"),
}
"""Words that name nothing."""


def _borne_out(sentence: str, witnessed: str) -> str:
    """The sentence without reasons and things to take out that nobody saw, and without taking out what it adds."""
    added = {item for found in _ADDED.finditer(sentence) for item in _items(found["items"])}

    def reasons(found: re.Match[str]) -> str:
        return _relisted(found, [item for item in _items(found["items"]) if _witnessed(item, witnessed)])

    def taken_out(found: re.Match[str]) -> str:
        items = [item for item in _items(found["items"]) if _witnessed(item, witnessed) and item not in added]
        return _relisted(found, items)

    return one_line(_TAKEN_OUT.sub(taken_out, _REASONS.sub(reasons, sentence)))


def _relisted(found: re.Match[str], items: Sequence[str]) -> str:
    if not items:
        return ""
    start, end = found.span("items")
    listed = " and ".join([", ".join(items[:-1]), items[-1]] if len(items) > 1 else items)
    return found[0][: start - found.start()] + listed + found[0][end - found.start() :]


def _items(listed: str) -> list[str]:
    """The different things in a list, in order."""
    return list(dict.fromkeys(item.strip() for item in _BETWEEN.split(listed) if item.strip()))


def _witnessed(item: str, witnessed: str) -> bool:
    return f" {_stems(item)} " in f" {witnessed} "


def _stems(text: str) -> str:
    return " ".join(_stem(word) for word in words(text) if word not in _LITTLE)


def _stem(word: str) -> str:
    """What the forms of an English word begin with, roughly: rain, rainy and raining, tree and trees."""
    return re.sub(r"(?<=\w{3})(?:ing|ed|es|s|y|e)$", "", word)


# --- the rewrite -------------------------------------------------------------------------------------------------

_NEGATION = r"(?:no|not|never|without|none|nobody|nothing|neither|nor|cannot|\w+n['\u2019]t)"
_NEGATED = re.compile(rf"\b{_NEGATION}\b(?:(?!\bbut\b)[^,.;:!?\n])*", re.IGNORECASE)
_LITTLE_WORD = rf"(?:{'|'.join(_LITTLE)})\b"
_EXCLUDED = re.compile(
    rf"\b{_NEGATION}\s+(?:{_LITTLE_WORD}\s+)*(?P<what>\w+(?:\s+(?!{_LITTLE_WORD})\w+)*)", re.IGNORECASE
)
"""What a negation is about: "trees" of "without any trees in the city"."""


def negations(prompt: str) -> list[str]:
    """What a prompt wants not to be there, each with its "no" or "without", up to the end of the phrase."""
    return [one_line(found[0]) for found in _NEGATED.finditer(prompt)]


def is_negation(word: str) -> bool:
    """Whether a word says that something is not there."""
    return re.fullmatch(_NEGATION, word, re.IGNORECASE) is not None


def lost_negations(rewrite: str, original_prompt: str) -> str:
    """What has to be written behind a rewrite so that it excludes all that the original prompt does."""
    said = f" {' '.join(words(rewrite))} "
    return "".join(f", {one}" for one in negations(original_prompt) if f" {' '.join(words(one))} " not in said)


def objection(rewrite: str, original_prompt: str, vocabulary: Vocabulary) -> str | None:
    """Why the words of a rewrite can't be trusted; None where they can.

    With a closed vocabulary every word is the original prompt's or the generator's, and those of the original that the
    generator does not know are all there: the agent can't have put other words for them that mean the same. With an
    open one no word is visibly miswritten (`_miswritten`). With any nothing is asked for that the original excludes.
    """
    original, said = words(original_prompt), words(rewrite)
    if vocabulary.words is not None:
        allowed = vocabulary.words.union(original)
        if foreign := [word for word in said if word not in allowed]:
            return f"holds words that neither the prompt nor the generator knows: {_listed(foreign)}"
        if lost := [word for word in original if word not in vocabulary.words.union(said, _LITTLE)]:
            return f"has lost words of the prompt: {_listed(lost)}"
    elif spoilt := _miswritten(said, original):
        return f"holds miswritten words: {_listed(spoilt)}"
    excluded = {_stem(word) for found in _EXCLUDED.finditer(original_prompt) for word in words(found["what"])}
    excluded -= {_stem(word) for word in words(_NEGATED.sub(" ", original_prompt))}
    if asked := [word for word in words(_NEGATED.sub(" ", rewrite)) if _stem(word) in excluded]:
        return f"asks for what the prompt excludes: {_listed(asked)}"
    return None


_LONG, _GROWTH = 5, 3
"""Letters of a word that others are seldom made from; more letters than an ending of English has, but for `_stem`'s."""
_DIGIT_INSIDE = re.compile(r"[^\W\d_]\d+[^\W\d_]")


def _miswritten(said: Sequence[str], original: Sequence[str]) -> list[str]:
    """The words of a rewrite that have a digit between letters, or are a long word of the original, now missing, with
    more behind it ("spaceshipopo").

    Without a dictionary no more can be told: a word that is one letter off may be the user's, spelt right at last. A
    compound in place of its first word ("flowerbed" for "flower") is taken for miswritten too.
    """
    kept = {_stem(word) for word in said}
    lost = [word for word in original if len(word) >= _LONG and _stem(word) not in kept]

    def grown(word: str) -> bool:
        return any(word.startswith(one) and len(word) >= len(one) + _GROWTH for one in lost)

    return [word for word in said if word not in original and (_DIGIT_INSIDE.search(word) or grown(word))]


def _listed(found: Sequence[str]) -> str:
    return ", ".join(dict.fromkeys(found))
