"""Rows of a forward on a CPU: how many there are does not change what one comes to."""

import copy
from pathlib import Path

import pytest
import torch
from diffusers import SD3Transformer2DModel
from torch import Tensor, nn

from emofeedback.generator.pipeline import load_models
from emofeedback.generator.rows import STEADY_ROWS, SteadyLinear, fewest_samples, keep_rows_steady
from support.tiny_checkpoints import tiny_sd3_settings


@pytest.fixture(scope="module")
def transformer(tiny_sd3: Path) -> SD3Transformer2DModel:
    return load_models(tiny_sd3_settings(tiny_sd3)).transformer


def test_layers_of_one_row_a_sample_never_see_fewer_rows(transformer: SD3Transformer2DModel) -> None:
    seen: list[int] = []
    inner = copy.deepcopy(transformer)
    for module in inner.time_text_embed.modules():
        if isinstance(module, nn.Linear):
            module.register_forward_hook(lambda m, inputs, rows: seen.append(len(inputs[0])))
    velocity(inner, 1)
    assert seen and set(seen) == {STEADY_ROWS}
    assert {type(module) for name, module in inner.named_modules() if name.endswith("norm1.linear")} == {SteadyLinear}


def test_steady_rows_change_nothing_but_rounding(transformer: SD3Transformer2DModel) -> None:
    torch.manual_seed(0)
    plain = SD3Transformer2DModel.from_config(transformer.config).eval()
    steady = copy.deepcopy(plain)
    keep_rows_steady(steady)
    torch.testing.assert_close(velocity(steady, 3), velocity(plain, 3), rtol=0, atol=2e-6)
    assert steady.state_dict().keys() == plain.state_dict().keys()


def test_the_fewest_samples_are_as_few_as_settle(transformer: SD3Transformer2DModel) -> None:
    fewest = fewest_samples(transformer, (transformer.config.in_channels, 6, 4))
    assert 1 <= fewest <= 8
    torch.testing.assert_close(velocity(transformer, fewest), velocity(transformer, 12)[:fewest], rtol=0, atol=0)


@torch.inference_mode()
def velocity(transformer: SD3Transformer2DModel, samples: int) -> Tensor:
    config, random = transformer.config, torch.Generator().manual_seed(1)
    drawn = [
        torch.randn(12, *shape, generator=random)
        for shape in ((config.in_channels, 6, 4), (77, config.joint_attention_dim), (config.pooled_projection_dim,))
    ]
    latents, tokens, pooled = (each[:samples].to(transformer.dtype) for each in drawn)
    result: Tensor = transformer(
        hidden_states=latents,
        timestep=torch.full((samples,), 300.0),
        encoder_hidden_states=tokens,
        pooled_projections=pooled,
        return_dict=False,
    )[0]
    return result
