"""On a CPU, what becomes of a sample must not depend on how many others there are: a picture has no company.

Matrix libraries take other kernels for few rows, which round otherwise. Two things keep a sample's bits the same:

1. Layers that read one row a sample (the conditioning: time, pooled text, modulation) are filled up to `STEADY_ROWS`.
   They cost nothing beside the others, and from 11 rows on no kernel of today's CPUs changes any more (AVX-512).
2. Layers that read a row a token have many rows as it is. How many samples they need at least differs from machine to
   machine (1 to 4), so it is measured once, when a model is loaded (`fewest_samples`).
"""

from __future__ import annotations

import torch
from diffusers import SD3Transformer2DModel
from diffusers.models.embeddings import CombinedTimestepTextProjEmbeddings
from torch import Tensor, nn

STEADY_ROWS = 16
_MEASURED_SAMPLES = 8
_MODULATIONS = ("norm1.linear", "norm1_context.linear", "norm_out.linear")


class SteadyLinear(nn.Linear):
    """A linear layer of one row a sample, whose rows are filled up."""

    def forward(self, input: Tensor) -> Tensor:
        return super().forward(_filled(input))[: len(input)]


class SteadyConditioning(CombinedTimestepTextProjEmbeddings):  # type: ignore[misc]
    """The conditioning of the whole transformer, whose rows are filled up."""

    def forward(self, timestep: Tensor, pooled_projection: Tensor) -> Tensor:
        rows: Tensor = super().forward(_filled(timestep), _filled(pooled_projection))
        return rows[: len(timestep)]


def keep_rows_steady(transformer: SD3Transformer2DModel) -> None:
    """Fills the rows of the conditioning layers up to `STEADY_ROWS` from now on; call it before any adapter."""
    transformer.time_text_embed.__class__ = SteadyConditioning
    for name, module in transformer.named_modules():
        if name.endswith(_MODULATIONS) and type(module) is nn.Linear:
            module.__class__ = SteadyLinear


@torch.inference_mode()
def fewest_samples(transformer: SD3Transformer2DModel, latent_shape: tuple[int, int, int]) -> int:
    """Samples of the smallest forward from which on each comes out as among many.

    Args:
        transformer: on a CPU, with steady rows.
        latent_shape: channels, height and width of one latent.
    """
    config, random = transformer.config, torch.Generator().manual_seed(0)

    def drawn(*shape: int) -> Tensor:
        return torch.randn(_MEASURED_SAMPLES, *shape, generator=random).to(transformer.dtype)

    latents, tokens, pooled = (
        drawn(*latent_shape),
        drawn(77, config.joint_attention_dim),
        drawn(config.pooled_projection_dim),
    )

    def velocities(samples: int) -> Tensor:
        result: Tensor = transformer(
            hidden_states=latents[:samples],
            timestep=torch.full((samples,), 500.0),
            encoder_hidden_states=tokens[:samples],
            pooled_projections=pooled[:samples],
            return_dict=False,
        )[0]
        return result

    among_many = velocities(_MEASURED_SAMPLES)
    settled = (n for n in (1, 2, 3, 4) if torch.equal(velocities(n), among_many[:n]))
    return next(settled, _MEASURED_SAMPLES)


def _filled(rows: Tensor) -> Tensor:
    missing = STEADY_ROWS - len(rows)
    return torch.cat([rows, rows[:1].expand(missing, *rows.shape[1:])]) if missing > 0 else rows
