"""How a judge by transformers works on a GPU says what it says without one: window attention, recorded steps."""

from __future__ import annotations

import copy
import logging
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers.models.qwen2_5_vl.configuration_qwen2_5_vl import Qwen2_5_VLVisionConfig
from transformers.models.qwen2_5_vl.modeling_qwen2_5_vl import Qwen2_5_VisionTransformerPretrainedModel

from emofeedback.cuda_graphs import Recording
from emofeedback.domain.assessment import Decoding
from emofeedback.judge.engines import steps
from emofeedback.judge.engines.base import prepare
from emofeedback.judge.engines.qwen import EncodedChat, Qwen
from emofeedback.judge.engines.vision import windows_at_once
from emofeedback.judge.prompts import rating_conversation, reasoning_conversation
from support import tiny_judges as tiny


@pytest.fixture
def qwen(tiny_judges: Path) -> Qwen:
    """One whose reply depends on all that it has read, in every step."""
    return Qwen.load(tiny.settings(tiny_judges, checkpoint=str(tiny_judges / "babbler")))


def asked(qwen: Qwen) -> list[EncodedChat]:
    conversations = [reasoning_conversation(tiny.png("red")), rating_conversation(tiny.png("teal", (56, 28)))]
    return [qwen.encode(prepare(conversation, ["image"], tiny.MAX_PIXELS)) for conversation in conversations]


def test_windows_are_attended_to_in_a_call_for_each_size(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    shape = Qwen2_5_VLVisionConfig(
        depth=2, hidden_size=32, num_heads=2, intermediate_size=64, out_hidden_size=32, fullatt_block_indexes=[1]
    )
    tower = Qwen2_5_VisionTransformerPretrainedModel._from_config(shape, attn_implementation="sdpa").eval()
    at_once = copy.deepcopy(tower)
    windows_at_once(at_once)
    patches, grid = torch.randn(2 * 20 * 16, 1176), torch.tensor([[1, 20, 16]] * 2)
    attention, windows = torch.nn.functional.scaled_dot_product_attention, []

    def counted(query: Any, *others: Any, **options: Any) -> Any:
        windows.append(len(query))
        return attention(query, *others, **options)

    with torch.inference_mode():
        expected = tower(patches, grid_thw=grid).pooler_output
        monkeypatch.setattr(torch.nn.functional, "scaled_dot_product_attention", counted)
        found = at_once(patches, grid_thw=grid).pooler_output
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-5)
    # Of each picture 4 windows of 8 x 8 and 2 that its edge cuts to 4 x 8; then both pictures whole.
    assert sorted(windows) == [2, 4, 8]


def replayed(forward: Callable[..., Any], inputs: Mapping[str, Any], *, warm_ups: int) -> Recording:
    """As a CUDA graph does: recording computes nothing, replaying reads the inputs' places as they are then."""
    assert warm_ups == 0
    places = {
        name: value.clone() if isinstance(value, torch.Tensor) else copy.copy(value) for name, value in inputs.items()
    }
    places["attention_mask"] = {name: mask.clone() for name, mask in inputs["attention_mask"].items()}
    output: dict[str, Any] = {}

    def replay() -> None:
        output.update(forward(**places))

    class Output(dict[str, Any]):
        logits = property(lambda self: output["logits"])

    return Recording(inputs=places, output=Output(), replay=replay)


def test_recorded_steps_reply_as_the_others_do(qwen: Qwen, monkeypatch: pytest.MonkeyPatch) -> None:
    decodings = [Decoding(max_new_tokens=9), Decoding(max_new_tokens=9, temperature=0.7, seed=3)]
    plain = qwen.generate(asked(qwen), decodings, top_logprobs=True)
    recorded: list[int] = []

    def record(*given: Any, **options: Any) -> Recording:
        recorded.append(1)
        return replayed(*given, **options)

    monkeypatch.setattr(steps, "record", record)
    qwen._on_gpu = True
    for _ in range(2):  # a cache of its own for each call
        found = qwen.generate(asked(qwen), decodings, top_logprobs=True)
        assert [reply.text for reply in found] == [reply.text for reply in plain]
        for one, other in zip(found, plain, strict=True):
            for ours, theirs in zip(one.tokens, other.tokens, strict=True):
                assert ours.top == pytest.approx(theirs.top, abs=1e-4)
    assert len(recorded) == 2


def test_steps_that_cannot_be_recorded_run_as_they_are(qwen: Qwen, caplog: pytest.LogCaptureFixture) -> None:
    plain = qwen.generate(asked(qwen), [Decoding(max_new_tokens=5)] * 2)
    qwen._on_gpu = True  # and there is none
    with caplog.at_level(logging.WARNING, logger=steps.log.name):
        found = qwen.generate(asked(qwen), [Decoding(max_new_tokens=5)] * 2)
    assert [reply.text for reply in found] == [reply.text for reply in plain]
    assert sum(record.name == steps.log.name for record in caplog.records) == 1
