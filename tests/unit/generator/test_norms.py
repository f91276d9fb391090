"""RMSNorm in one kernel is diffusers' but for rounding."""

from pathlib import Path

import pytest
import torch
from diffusers.models.normalization import RMSNorm

from emofeedback.generator.norms import OneKernelNorm, norms_in_one_kernel
from emofeedback.generator.pipeline import load_models
from support.tiny_checkpoints import tiny_sd3_settings, tiny_transformer, tiny_velocity


@pytest.mark.parametrize(("dtype", "relative"), [(torch.float32, 1e-6), (torch.bfloat16, 2**-7)])
def test_it_normalizes_as_diffusers_does(dtype: torch.dtype, relative: float) -> None:
    torch.manual_seed(0)
    theirs = RMSNorm(16, eps=1e-6).to(dtype)
    torch.nn.init.uniform_(theirs.weight, 0.5, 2)
    ours = RMSNorm(16, eps=1e-6).to(dtype)
    ours.load_state_dict(theirs.state_dict())
    ours.__class__ = OneKernelNorm
    values = torch.randn(7, 16, dtype=dtype)
    torch.testing.assert_close(ours(values), theirs(values), rtol=relative, atol=0)
    assert ours(values.float()).dtype == theirs(values.float()).dtype


def test_a_whole_transformer_says_the_same() -> None:
    torch.manual_seed(0)
    transformer = tiny_transformer(48)
    before = tiny_velocity(transformer)
    norms_in_one_kernel(transformer)
    assert any(isinstance(module, OneKernelNorm) for module in transformer.modules())
    torch.testing.assert_close(tiny_velocity(transformer), before, rtol=0, atol=2e-6)


def test_on_a_cpu_norms_stay_as_they_are(tiny_sd3: Path) -> None:
    modules = load_models(tiny_sd3_settings(tiny_sd3)).transformer.modules()
    assert not any(isinstance(module, OneKernelNorm) for module in modules)
