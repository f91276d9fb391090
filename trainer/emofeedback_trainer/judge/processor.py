"""What TRL wants beside a judge's weights: a processor, here without the video part, which needs torchvision."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from transformers import AutoTokenizer, ProcessorMixin, Qwen2_5_VLProcessor, Qwen2VLImageProcessorPil


class JudgeProcessor(Qwen2_5_VLProcessor):  # type: ignore[misc, unused-ignore]
    """Qwen2.5-VL's processor for pictures and text: chats in, tokens and patches out."""

    def __init__(self, image_processor: Any, tokenizer: Any) -> None:
        self.image_token = "<|image_pad|>"
        self.image_token_id = tokenizer.convert_tokens_to_ids(self.image_token)
        self.video_token = "<|video_pad|>"
        self.video_token_id = tokenizer.convert_tokens_to_ids(self.video_token)
        # Past Qwen2_5_VLProcessor's own, which insists on a video processor.
        ProcessorMixin.__init__(self, image_processor, tokenizer, chat_template=tokenizer.chat_template)

    @classmethod
    def load(cls, folder: Path, *, max_pixels: int) -> JudgeProcessor:
        """The processor of a checkpoint; pictures of more than `max_pixels` are scaled down."""
        tokenizer = AutoTokenizer.from_pretrained(folder, padding_side="left")
        return cls(Qwen2VLImageProcessorPil.from_pretrained(folder, max_pixels=max_pixels), tokenizer)
