"""The smaller judge of a comparison: every other text layer of the larger one, and nothing else changed."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from emofeedback.domain.assessment import Decoding
from emofeedback.judge.engines.base import prepare
from emofeedback.judge.engines.qwen import Qwen
from emofeedback.judge.prompts import rating_conversation
from emofeedback.profiles.builtin import NANO_PROFILE
from emofeedback_trainer.judge.shallower import write_shallower
from support.pictures import encoded, red

LAYERS = "model.layers."


@pytest.fixture(scope="module")
def smaller(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("judge") / "smaller"
    write_shallower(Path(NANO_PROFILE.judge.checkpoint), folder)
    return folder


def test_half_of_the_text_layers_are_kept_and_all_the_rest(smaller: Path) -> None:
    before = load_file(Path(NANO_PROFILE.judge.checkpoint) / "model.safetensors")
    after = load_file(smaller / "model.safetensors")
    kept = {f"{LAYERS}{old}.": f"{LAYERS}{new}." for new, old in enumerate((0, 2))}
    expected = {name: tensor for name, tensor in before.items() if not name.startswith(LAYERS)}
    for old, new in kept.items():
        expected |= {name.replace(old, new): tensor for name, tensor in before.items() if name.startswith(old)}
    assert after.keys() == expected.keys()
    assert all(torch.equal(after[name], expected[name]) for name in after)


def test_it_is_a_judge_like_any_other(smaller: Path) -> None:
    settings = replace(NANO_PROFILE.judge, checkpoint=str(smaller))
    qwen = Qwen.load(settings)
    chat = qwen.encode(prepare(rating_conversation(encoded(red())), ["a"], settings.max_pixels))
    (completion,) = qwen.generate([chat], [Decoding(max_new_tokens=4)], top_logprobs=True)
    assert completion.tokens
