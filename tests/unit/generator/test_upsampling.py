from copy import deepcopy

import pytest
import torch
from diffusers import AutoencoderTiny
from torch import nn

from emofeedback.generator.upsampling import double_in_one


def _autoencoder(blocks: tuple[int, ...]) -> AutoencoderTiny:
    torch.manual_seed(0)
    model = AutoencoderTiny(
        latent_channels=4,
        encoder_block_out_channels=(8,) * 3,
        decoder_block_out_channels=(8,) * 3,
        num_encoder_blocks=(1, 1, 1),
        num_decoder_blocks=blocks,
    )
    return model.eval()


def _fused(plain: AutoencoderTiny) -> AutoencoderTiny:
    """A fused copy, which decodes as the plain one does."""
    fused = deepcopy(plain)
    double_in_one(fused)
    latents = torch.randn(2, 4, 5, 7)
    with torch.inference_mode():
        torch.testing.assert_close(fused.decode(latents).sample, plain.decode(latents).sample, rtol=1e-4, atol=1e-5)
    return fused


@pytest.mark.parametrize("blocks", [(1, 1, 1), (2, 0, 0)])
def test_a_decoder_decodes_as_before_and_doubles_nothing_twice(blocks: tuple[int, ...]) -> None:
    fused = _fused(_autoencoder(blocks))
    assert not any(isinstance(layer, nn.Upsample) for layer in fused.decoder.modules())


def test_channels_that_the_last_convolution_does_not_read_are_not_computed() -> None:
    plain = _autoencoder((1, 1, 0))
    with torch.no_grad():
        plain.decoder.layers[-1].weight[:, [1, 4, 5]] = 0.0
    fused = _fused(plain)
    assert fused.decoder.layers[-1].in_channels == fused.decoder.layers[-2].out_channels == 5
