"""A smaller judge of the same family: every other layer of the language model left out.

What is left has to learn to speak again.
"""

from __future__ import annotations

import shutil
from pathlib import Path

from torch import nn
from transformers import AutoConfig, Qwen2_5_VLForConditionalGeneration

from emofeedback.judge.engines.base import CHECKPOINT_FILES


def write_shallower(source: Path, destination: Path) -> None:
    """Writes the checkpoint in `source` with half of its text layers, the first one among them."""
    config = AutoConfig.from_pretrained(source)
    text = config.text_config
    kept = range(0, text.num_hidden_layers, 2)
    model = Qwen2_5_VLForConditionalGeneration.from_pretrained(source, dtype=config.dtype, use_safetensors=True)
    layers = model.model.language_model.layers
    model.model.language_model.layers = nn.ModuleList(layers[index] for index in kept)
    text.layer_types = [text.layer_types[index] for index in kept]
    text.num_hidden_layers = len(kept)
    model.save_pretrained(destination)
    for pattern in CHECKPOINT_FILES:
        for file in source.glob(pattern):
            if not file.name.startswith("model"):
                shutil.copyfile(file, destination / file.name)
    config.save_pretrained(destination)
