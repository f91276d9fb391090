"""The agent's questions, and its replies as models really write them."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from emofeedback.domain.affect import AffectPoint, Emotion
from emofeedback.domain.assessment import Assessment
from emofeedback.optimizer.parsing import UnreadableReply, parse_gradient, parse_update
from emofeedback.optimizer.prompts import gradient_conversation, update_conversation

TARGET = AffectPoint(7.2, 3.0)
BEST = Assessment(valence=6.1, arousal=4.2, emotion=Emotion.CONTENTMENT, confidence=0.7)
WORST = Assessment(valence=2.9, arousal=5.5, emotion=Emotion.FEAR, confidence=0.6)


def test_the_gradient_shows_the_best_image_first_and_names_target_and_judgements() -> None:
    (message,) = gradient_conversation("a fox\nin a forest", TARGET, b"best", BEST, b"worst", WORST)
    best, worst, text = message.parts
    assert (best, worst) == (b"best", b"worst")
    assert isinstance(text, str)
    for words in (
        "a fox in a forest",
        "valence 7.2, arousal 3.0 (pleasant, calm)",
        "valence 6.1",
        "2.9",
        "fear",
    ):
        assert words in text


def test_the_update_names_both_prompts_the_analysis_and_the_target() -> None:
    (message,) = update_conversation("a fox", "a fox in fog", "Take out the fog.", TARGET)
    (text,) = message.parts
    assert isinstance(text, str)
    for words in ("Original prompt: a fox\n", "a fox in fog", "Take out the fog.", "(pleasant, calm)"):
        assert words in text


@pytest.mark.parametrize(
    "reply",
    [
        "<prompt>a fox at dawn, warm light</prompt>",
        "<prompt>a fox at dawn, warm light",
        "a fox at dawn, warm light</prompt>",
        "<PROMPT>\n  a fox at dawn,\n  warm light\n</PROMPT> I kept the fox.",
        "<prompt>a fox at dawn, warm light<prompt>",
        '<prompt>"a fox at dawn, warm light"</prompt>',
        "<prompt>**a fox at dawn, warm light**</prompt>",
        "<prompt>a fox at dawn, warm light\n\nThis keeps the fox.",
        "```\n<prompt>a fox at dawn, warm light</prompt>\n```",
        "<think>A <prompt>cat</prompt>?</think><prompt>a fox at dawn, warm light</prompt>",
        "<prompt></prompt> <prompt>a fox at dawn, warm light</prompt>",
        "a fox at dawn, warm light",
        "Here is the new prompt: a fox at dawn, warm light",
        "New prompt:\n\n“a fox at dawn, warm light”",
        "Sure, here you are:\n\n```text\na fox at dawn, warm light\n```",
        '{"prompt": "a fox at dawn, warm light"}',
        '{"prompt": "a fox at d\\u0061wn, warm light"}',
        '{"original_prompt": "a dog", "prompt": "a fox at dawn, warm light"}',
        '<prompt>{"prompt": "a fox at dawn, warm light"}</prompt>',
        "<prompt>a fox at dawn, warm light</prompt>\nThe new <prompt> has more light.",
        "a fox at dawn, warm light</prompt> I kept the fox.",
        "<prompt>a fox at dawn, warm light<prompt> I kept the fox.",
        "<thinking><prompt>a cat</prompt></thinking><prompt>a fox at dawn, warm light</prompt>",
        "A cat?</think>a fox at dawn, warm light",
        'Sure!\n```json\n{"why": "it is calm", "prompt": "a fox at dawn,\nwarm light"}\n```\nHope this helps.',
    ],
)
def test_the_form_of_a_rewritten_prompt_is_repaired(reply: str) -> None:
    assert parse_update(reply) == "a fox at dawn, warm light"


@pytest.mark.parametrize(
    "reply",
    [
        "",
        "  \n",
        "<prompt></prompt>",
        "<prompt>...</prompt>",
        "```\n```",
        "I did.\n\nA fox.",
        "<think>Perhaps <prompt>a gloomy street</prompt>, but that is too dark, so I",
        "<reasoning>a gloomy street",
        '{"prompt": "a fox at',
        '{"prompt": ["a fox", "dawn"]}',
        '{"prompt": "a \\ud83d fox"}',
        "{'prompt': 'a fox'}",
        '{"new_prompt": "a fox"}',
        "<prompt>a caf\\u00e9</prompt>",
        "<prompt>a fox</prompt> Or: <prompt>a cat</prompt>",
        "<prompt>a fox\nNote: brighter.",
        "The new <prompt> has more light.",
        'Here is the new prompt: "a fox". I kept it.',
        "Prompt: a fox at dawn. Negative prompt: fog",
        "<prompt>a fox</prompt",
    ],
)
def test_a_reply_without_one_prompt_is_refused(reply: str) -> None:
    with pytest.raises(UnreadableReply, match="prompt"):
        parse_update(reply)


def test_an_analysis_loses_its_wrapping() -> None:
    assert parse_gradient("```\n<analysis>The fog\nis grim.</analysis>\n```") == "The fog is grim."


def test_an_analysis_is_what_the_reply_says_behind_its_thoughts() -> None:
    for reply in (
        "<think>A cat?</think> The fog is grim.",
        "A cat?</think> The fog is grim.",
        '{"analysis": "The fog is grim."}',
        "<thinking>A cat?</thinking><answer>The fog is grim.</answer> I hope this helps.",
    ):
        assert parse_gradient(reply) == "The fog is grim."


@pytest.mark.parametrize(
    "reply",
    ["", "<analysis></analysis>", "...", "```", "<think>The fog", "<think>Fog.</think>", '{"analysis": "The fog'],
)
def test_an_empty_analysis_is_refused(reply: str) -> None:
    with pytest.raises(UnreadableReply, match="no analysis"):
        parse_gradient(reply)


@given(st.text(max_size=200))
def test_any_reply_gives_one_line_or_is_refused(reply: str) -> None:
    for parse in (parse_gradient, parse_update):
        try:
            text = parse(reply)
        except UnreadableReply:
            continue
        assert text == " ".join(text.split()) != ""


@given(
    st.text(
        st.characters(
            exclude_categories=["Cs", "Cc", "Z"], exclude_characters="<>{}[]\"'`\\*:\u201c\u201d\u2018\u2019"
        ),
        min_size=1,
    ),
    st.booleans(),
    st.sampled_from(["", "<think>{}</think>", "<scratchpad>{}</scratchpad>"]),
    st.sampled_from(["", "\nThe new <prompt> is better.", " I hope this helps."]),
)
def test_a_prompt_in_json_or_tags_is_painted_whole_and_alone(
    prompt: str, escaped: bool, before: str, after: str
) -> None:
    prompt = f"a {prompt}"
    said = json.dumps({"prompt": prompt}, ensure_ascii=escaped)
    tagged = f"<prompt>{prompt}</prompt>"
    draft = before.format('{"prompt": "a draft"} <prompt>a draft</prompt>')
    assert parse_update(draft + said) == parse_update(draft + tagged + after) == prompt
    for cut in range(len('{"prompt": "a'), len(said) - 2):
        with pytest.raises(UnreadableReply):
            parse_update(said[:cut])


@given(
    st.sampled_from(["think", "thinking", "reasoning", "reflection"]), st.sampled_from(["<prompt>{}</prompt>", "{}"])
)
def test_nothing_of_an_unfinished_thought_is_read(tag: str, dress: str) -> None:
    for parse in (parse_update, parse_gradient):
        with pytest.raises(UnreadableReply):
            parse(f"<{tag}>Perhaps {dress.format('a gloomy street')}, but")


@given(st.from_regex(r"[a-z]{2,8}( [a-z]{1,8}){0,5}", fullmatch=True), st.text(max_size=40))
def test_a_tagged_prompt_is_found_in_any_chatter(prompt: str, chatter: str) -> None:
    chatter = chatter.replace("<", "(").replace("`", "'")
    assert parse_update(f"{chatter}<prompt>{prompt}</prompt>{chatter}") == prompt
