"""Small checkpoints in exactly the formats of Qwen2.5-VL and of CLIP, made in seconds without a hub."""

import io
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from tokenizers import AddedToken, Tokenizer, models, pre_tokenizers, trainers
from transformers import (
    CLIPConfig,
    CLIPImageProcessorPil,
    CLIPModel,
    CLIPTokenizer,
    Qwen2_5_VLConfig,
    Qwen2_5_VLForConditionalGeneration,
    Qwen2Tokenizer,
    Qwen2VLImageProcessorPil,
)

from emofeedback.domain.assessment import Conversation
from emofeedback.judge.engines.base import prepare
from emofeedback.judge.engines.qwen import Qwen
from emofeedback.judge.prompts import rating_conversation, reasoning_conversation
from emofeedback.profiles.profile import JudgeSettings

RATING_REPLY = "7 3 awe 5"
REASONING_REPLY = (
    '<think>It glows.</think><answer>{"valence": 7.5, "arousal": 3.5, "emotion": "awe", "dominance": 5.5}</answer>'
)
MAX_PIXELS = 56 * 56
CONTEXT = 512

_CONTROL = [
    "<|endoftext|>",
    "<|im_start|>",
    "<|im_end|>",
    "<|vision_start|>",
    "<|vision_end|>",
    "<|image_pad|>",
    "<|video_pad|>",
]
_CHAT_TEMPLATE = (
    "{% for message in messages %}"
    "{% if loop.first and message['role'] != 'system' %}<|im_start|>system\nYou help.<|im_end|>\n{% endif %}"
    "<|im_start|>{{ message['role'] }}\n"
    "{% for part in message['content'] %}"
    "{% if part['type'] == 'image' %}<|vision_start|><|image_pad|><|vision_end|>{% else %}{{ part['text'] }}{% endif %}"
    "{% endfor %}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


def png(color: str = "teal", size: tuple[int, int] = (40, 32)) -> bytes:
    file = io.BytesIO()
    Image.new("RGB", size, color).save(file, "PNG")
    return file.getvalue()


def settings(folder: Path, **changes: Any) -> JudgeSettings:
    """Of a judge in `folder/judge` with its scorer in `folder/scorer`."""
    values: dict[str, Any] = {
        "checkpoint": str(folder / "judge"),
        "engine": "transformers",
        "scorer": str(folder / "scorer"),
        "scorer_processor": str(folder / "scorer"),
        "max_batch": 4,
        "max_pixels": MAX_PIXELS,
        "max_reasoning_tokens": 120,
        "device": "cpu",
        "dtype": "float32",
    }
    return JudgeSettings(**(values | changes))


def save_tiny_qwen25vl(folder: Path, *, taught: bool = False) -> None:
    """A Qwen2.5-VL of random weights, whose replies are garbage.

    Args:
        taught: it has learned two sentences: to every picture it says `RATING_REPLY`, or `REASONING_REPLY`
            where it is asked to think aloud.
    """
    torch.manual_seed(0)
    tokenizer = _tokenizer()
    model = Qwen2_5_VLForConditionalGeneration(_config(tokenizer))
    model.generation_config.eos_token_id = [tokenizer.eos_token_id, tokenizer.pad_token_id]
    image_processor = Qwen2VLImageProcessorPil(min_pixels=28 * 28, max_pixels=28 * 28 * 1280)
    if taught:
        _teach(model, tokenizer, image_processor)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    image_processor.save_pretrained(folder)


def save_tiny_clip(folder: Path) -> None:
    """A CLIP of random weights, with its tokenizer and image processor."""
    torch.manual_seed(0)
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    words = [*alphabet, *(letter + "</w>" for letter in alphabet), "<|startoftext|>", "<|endoftext|>"]
    tokenizer = CLIPTokenizer(vocab={word: id for id, word in enumerate(words)}, merges=[], model_max_length=77)
    shape = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2}
    config = CLIPConfig(
        text_config={
            **shape,
            "vocab_size": len(tokenizer),
            "max_position_embeddings": 77,
            "bos_token_id": tokenizer.bos_token_id,
            "eos_token_id": tokenizer.eos_token_id,
            "pad_token_id": tokenizer.pad_token_id,
        },
        vision_config={**shape, "image_size": 32, "patch_size": 8},
        projection_dim=24,
    )
    CLIPModel(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    size = {"height": 32, "width": 32}
    CLIPImageProcessorPil(size={"shortest_edge": 32}, crop_size=size).save_pretrained(folder)


def _tokenizer() -> Qwen2Tokenizer:
    """Byte-level pairs, learned from what the tiny judge reads and writes."""
    learner = Tokenizer(models.BPE())
    learner.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    texts = [part for _, conversation in _lessons() for part in conversation[0].parts if isinstance(part, str)]
    trainer = trainers.BpeTrainer(
        vocab_size=600, initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()), show_progress=False
    )
    learner.train_from_iterator([*texts, REASONING_REPLY], trainer)
    learned = json.loads(learner.to_str())["model"]
    tokenizer = Qwen2Tokenizer(
        vocab=learned["vocab"], merges=[tuple(pair) for pair in learned["merges"]], eos_token="<|im_end|>"
    )
    tokenizer.add_tokens([AddedToken(token, special=True, normalized=False) for token in _CONTROL])
    tokenizer.chat_template = _CHAT_TEMPLATE
    return tokenizer


def _config(tokenizer: Qwen2Tokenizer) -> Qwen2_5_VLConfig:
    token = tokenizer.convert_tokens_to_ids
    return Qwen2_5_VLConfig(
        text_config={
            "hidden_size": 64,
            "intermediate_size": 128,
            "num_hidden_layers": 2,
            "num_attention_heads": 2,
            "num_key_value_heads": 2,
            "vocab_size": len(tokenizer),
            "max_position_embeddings": CONTEXT,
            "rope_parameters": {"rope_type": "default", "rope_theta": 10000.0, "mrope_section": [4, 6, 6]},
            "bos_token_id": token("<|endoftext|>"),
            "eos_token_id": token("<|im_end|>"),
            "pad_token_id": token("<|endoftext|>"),
        },
        vision_config={
            "depth": 1,
            "hidden_size": 32,
            "num_heads": 1,
            "intermediate_size": 64,
            "out_hidden_size": 64,
            "fullatt_block_indexes": [0],
        },
        image_token_id=token("<|image_pad|>"),
        video_token_id=token("<|video_pad|>"),
        vision_start_token_id=token("<|vision_start|>"),
        vision_end_token_id=token("<|vision_end|>"),
        tie_word_embeddings=True,
    )


def _lessons() -> list[tuple[str, Conversation]]:
    return [(RATING_REPLY, rating_conversation(png())), (REASONING_REPLY, reasoning_conversation(png()))]


def _teach(model: Qwen2_5_VLForConditionalGeneration, tokenizer: Qwen2Tokenizer, image_processor: object) -> None:
    """Overfits the lessons."""
    ends = model.generation_config
    qwen = Qwen(model, tokenizer, image_processor)
    optimizer = torch.optim.AdamW(model.parameters(), lr=5e-3, betas=(0.9, 0.9))  # half the steps of 0.999
    batches = []
    [(_, rated), _] = _lessons()
    # Behind full stops, which untrained reasoning tokens read like (`reasoning_judge`), a rating is to be one still.
    behind = (replace(rated[0], parts=(*rated[0].parts, "." * 16)),)
    for reply, conversation in [*_lessons(), (RATING_REPLY, behind)]:
        chat = qwen.encode(prepare(conversation, ["images[0]"], MAX_PIXELS))
        said = [*tokenizer(reply)["input_ids"], tokenizer.eos_token_id]
        ids = torch.tensor([[*chat.ids, *said]])
        batches.append(
            {
                "input_ids": ids,
                "labels": torch.tensor([[-100] * len(chat.ids) + said]),
                "mm_token_type_ids": (ids == model.config.image_token_id).int(),
                "pixel_values": chat.pixels,
                "image_grid_thw": chat.grids,
            }
        )
    losses = [1.0]
    while max(losses) > 0.005:  # a mean: among a hundred tokens, not one that is doubtful
        losses = []
        for batch in batches:
            loss = model(**batch).loss
            loss.backward()
            losses.append(loss.item())
        optimizer.step()
        optimizer.zero_grad()
    model.generation_config = ends
