"""A judge with reasoning tokens that it has never learned to use: the embedded one, or any other, with rows added."""

import shutil
from pathlib import Path

import torch
from tokenizers import AddedToken
from transformers import AutoTokenizer, Qwen2_5_VLForConditionalGeneration

from emofeedback.judge.prompts import reason_token, variation_token
from emofeedback.profiles.builtin import NANO


def untrained_reasoning_judge(
    folder: Path, *, of: Path = NANO / "judge", reasons: int = 8, variations: int = 4
) -> Path:
    """Copies the judge of `of` to `folder` and adds what tokens it lacks, so that all it says without them stays.

    They read like full stops, no two quite alike: a rating behind them is a rating still. Embedding rows that are there
    without a token, as Qwen2.5-VL has some, are used and not thrown away.
    """
    shutil.copytree(of, folder)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    names = [*map(reason_token, range(reasons)), *map(variation_token, range(variations))]
    if not tokenizer.add_tokens([AddedToken(name, special=True, normalized=False) for name in names]):
        return folder
    model = Qwen2_5_VLForConditionalGeneration.from_pretrained(folder)
    embedding = model.get_input_embeddings()
    if len(tokenizer) > embedding.num_embeddings:
        model.resize_token_embeddings(len(tokenizer), mean_resizing=False)
    own = model.get_input_embeddings().weight.data
    ids = tokenizer.convert_tokens_to_ids(names)
    noise = torch.randn(len(ids), own.shape[1], generator=torch.Generator().manual_seed(0))
    own[ids] = own[tokenizer.convert_tokens_to_ids(".")] + (0.3 * own.float().std() * noise).to(own.dtype)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder
