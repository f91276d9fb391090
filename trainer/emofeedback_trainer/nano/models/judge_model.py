"""The embedded vision-language model: the Qwen2.5-VL architecture at 2.6 million parameters, and what its eyes read.

Four text layers of width 160 and three vision layers of width 128. A picture of 112 x 112 pixels becomes 8 x 8
patches of 14 pixels, merged two by two into 16 visual tokens; window attention covers the whole picture.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from transformers import Qwen2_5_VLConfig, Qwen2_5_VLForConditionalGeneration

from emofeedback_trainer.nano.world.album import SEEN_SIZE

PATCH = 14
MERGE = 2
GRID = SEEN_SIZE // PATCH
VISUAL_TOKENS = (GRID // MERGE) ** 2
CLIP_MEAN = (0.48145466, 0.4578275, 0.40821073)
CLIP_STD = (0.26862954, 0.26130258, 0.27577711)
"""Channel statistics that Qwen2.5-VL and CLIP normalise with."""
WIDTH = 160
_VISION_WIDTH = 128


def build_model(vocabulary: dict[str, int], size: int) -> Any:
    """A fresh `Qwen2_5_VLForConditionalGeneration` for a vocabulary of `size` tokens, some of them looked up."""
    rope = {"rope_type": "default", "rope_theta": 10000.0, "mrope_section": [4, 6, 6]}
    config = Qwen2_5_VLConfig(
        text_config={
            "hidden_size": WIDTH,
            "intermediate_size": 432,
            "num_hidden_layers": 4,
            "num_attention_heads": 5,
            "num_key_value_heads": 5,
            "vocab_size": size,
            "max_position_embeddings": 4096,
            "rope_parameters": rope,
            "tie_word_embeddings": True,
            "use_sliding_window": False,
            "bos_token_id": vocabulary["<|endoftext|>"],
            "eos_token_id": vocabulary["<|im_end|>"],
            "pad_token_id": vocabulary["<|endoftext|>"],
        },
        vision_config={
            "depth": 3,
            "hidden_size": _VISION_WIDTH,
            "num_heads": 4,
            "intermediate_size": 384,
            "out_hidden_size": WIDTH,
            "patch_size": PATCH,
            "spatial_merge_size": MERGE,
            "temporal_patch_size": 2,
            "window_size": SEEN_SIZE,
            "fullatt_block_indexes": [0, 1, 2],
        },
        image_token_id=vocabulary["<|image_pad|>"],
        video_token_id=vocabulary["<|video_pad|>"],
        vision_start_token_id=vocabulary["<|vision_start|>"],
        vision_end_token_id=vocabulary["<|vision_end|>"],
        tie_word_embeddings=True,
    )
    model = Qwen2_5_VLForConditionalGeneration(config)
    model.set_attn_implementation("eager")  # at these lengths twice as fast backward on a CPU as the fused kernel
    return model


def patches(pictures: Tensor) -> Tensor:
    """What `Qwen2VLImageProcessor` makes of uint8 pictures [B, 3, 112, 112]: float [B * 64, 3 * 2 * 14 * 14].

    Patches come in groups of two by two, each doubled along time, as the merger expects them.
    """
    mean = torch.tensor(CLIP_MEAN, device=pictures.device)[:, None, None]
    std = torch.tensor(CLIP_STD, device=pictures.device)[:, None, None]
    values = (pictures.float() / 255.0 - mean) / std
    count, coarse = len(values), GRID // MERGE
    values = values.view(count, 3, coarse, MERGE, PATCH, coarse, MERGE, PATCH)
    values = values.permute(0, 2, 5, 3, 6, 1, 4, 7)  # b, row, column, sub-row, sub-column, c, y, x
    values = values.reshape(count * GRID * GRID, 3, 1, PATCH, PATCH).expand(-1, -1, 2, -1, -1)
    return values.reshape(count * GRID * GRID, 3 * 2 * PATCH * PATCH)


def grids(count: int, device: torch.device) -> Tensor:
    """The processor's (time, height, width) in patches of `count` pictures, [count, 3]."""
    return torch.tensor([[1, GRID, GRID]] * count, device=device)
