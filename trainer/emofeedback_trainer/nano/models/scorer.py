"""Trains the embedded alignment scorer: the CLIP architecture, contrastively, on scenes and captions.

Three objectives share a step: pictures against captions (with every caption's one-word-changed twin as a hard
negative, and captions that happen to fit another picture of the batch left out), prompts against rewrites (with the
rewrite that lost the subject as a hard negative; the drift guard stands on this one), and, to give each picture more
than one bit to learn from, the parts of the scene read off its embedding by a head that is dropped afterwards.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import AutoTokenizer, CLIPConfig, CLIPImageProcessorPil, CLIPModel

from emofeedback_trainer.core.training_state import TrainingState, averaged_weights, cosine, set_rates
from emofeedback_trainer.nano.models.eyes import PICTURES
from emofeedback_trainer.nano.models.judge_model import CLIP_MEAN, CLIP_STD
from emofeedback_trainer.nano.models.vocabulary import train_clip_tokenizer
from emofeedback_trainer.nano.world.album import SEEN_SIZE, WORN, mirrored, pictures
from emofeedback_trainer.nano.world.contrasts import caption, fits, mentioned, one_word_changed, rewrite
from emofeedback_trainer.nano.world.numbered import scene_at
from emofeedback_trainer.nano.world.parts import OUTPUTS, naming_losses, parts_of
from emofeedback_trainer.nano.world.scenes import Scene

CONTEXT = 77
_TOKENS = 1200
_WIDTH = 128
STEPS = 900
_SEED = 50
_RATE = 1.5e-3
_BATCH = 64
_REWRITES = 32
"""Of the batch: rewrites are long, and easier than pictures."""
_PARTS_WEIGHT = 0.2


class Scorer(nn.Module):
    """The CLIP with the head that names a picture's parts from its embedding."""

    def __init__(self, tokenizer: Any) -> None:
        super().__init__()
        self.clip = build_clip(tokenizer)
        self.parts = nn.Linear(_WIDTH, OUTPUTS)


def build_clip(tokenizer: Any) -> Any:
    """A fresh `CLIPModel` of about 1.7 million parameters: 112 x 112 pixels in patches of 16, 77 tokens."""
    tower = {
        "hidden_size": _WIDTH,
        "intermediate_size": 4 * _WIDTH,
        "num_attention_heads": 4,
        "hidden_act": "gelu",
        "projection_dim": _WIDTH,
    }
    config = CLIPConfig(
        text_config=tower
        | {
            "num_hidden_layers": 3,
            "vocab_size": len(tokenizer),
            "max_position_embeddings": CONTEXT,
            "bos_token_id": tokenizer.bos_token_id,
            "eos_token_id": tokenizer.eos_token_id,
            "pad_token_id": tokenizer.pad_token_id,
        },
        vision_config=tower | {"num_hidden_layers": 4, "image_size": SEEN_SIZE, "patch_size": 16},
        projection_dim=_WIDTH,
        logit_scale_init_value=2.3,
    )
    model = CLIPModel(config)
    model.set_attn_implementation("eager")  # faster backward on a CPU at these lengths than the fused kernel
    nn.init.normal_(model.text_model.embeddings.token_embedding.weight, std=0.1)
    return model


def normalized(images: Tensor) -> Tensor:
    """uint8 pictures [B, 3, 112, 112] as `CLIPImageProcessor` scales them."""
    mean = torch.tensor(CLIP_MEAN, device=images.device)[:, None, None]
    std = torch.tensor(CLIP_STD, device=images.device)[:, None, None]
    return (images.float() / 255.0 - mean) / std


def embed_images(clip: Any, images: Tensor) -> Tensor:
    """Unit vectors [B, 128]."""
    return F.normalize(clip.get_image_features(pixel_values=normalized(images)).pooler_output.float(), dim=-1)


def embed_texts(clip: Any, tokenizer: Any, texts: list[str]) -> Tensor:
    """Unit vectors [B, 128]."""
    tokens = tokenizer(texts, padding=True, truncation=True, max_length=CONTEXT, return_tensors="pt")
    return F.normalize(clip.get_text_features(**tokens.to(clip.device)).pooler_output.float(), dim=-1)


def contrast(left: Tensor, right: Tensor, wrong: Tensor, scale: Tensor, same: Tensor) -> Tensor:
    """Symmetric InfoNCE of unit vectors [B, D] with one hard negative for each `left`.

    Args:
        wrong: a near miss of `right` for each row, [B, D].
        same: bool [B, B], which pairs fit; those off the diagonal are left out.
    """
    others = same & ~torch.eye(len(left), dtype=torch.bool, device=left.device)
    scores = (scale * left @ right.T).masked_fill(others, -torch.inf)
    near = scale * (left * wrong).sum(dim=1, keepdim=True)
    truth = torch.arange(len(left), device=left.device)
    forth, back = F.cross_entropy(torch.cat([scores, near], dim=1), truth), F.cross_entropy(scores.T, truth)
    return (forth + back) / 2


def tokenizer_for(folder: Path) -> Any:
    """The tokenizer of a training folder, learned from captions and rewrites the first time."""
    path = folder / "tokenizer"
    if not path.exists():
        rng = np.random.default_rng(_SEED)
        scenes = [scene_at("scorer", index) for index in range(4000)]
        texts = [text for scene in scenes for text in (caption(scene, rng), rewrite(scene, rng).kept)]
        train_clip_tokenizer(texts, size=_TOKENS, context=CONTEXT).save_pretrained(path)
    return AutoTokenizer.from_pretrained(path)


def step_loss(model: Scorer, tokenizer: Any, scenes: list[Scene], images: Tensor, rng: np.random.Generator) -> Tensor:
    """The three losses of one batch, [3]: pictures and captions, prompts and rewrites, parts."""
    clip = model.clip
    parts = [mentioned(scene, rng) for scene in scenes]
    wrong = [one_word_changed(part, scene, rng) for part, scene in zip(parts, scenes, strict=True)]
    rewrites = [rewrite(scene, rng) for scene in scenes[:_REWRITES]]
    prompts = [one.prompt for one in rewrites]
    kept_and_lost = [one.kept for one in rewrites] + [one.lost for one in rewrites]
    seen = embed_images(clip, images)
    true, false = embed_texts(clip, tokenizer, [caption(part, rng) for part in (*parts, *wrong)]).chunk(2)
    asked, kept, lost = embed_texts(clip, tokenizer, prompts + kept_and_lost).chunk(3)
    fitting = torch.tensor([[fits(part, scene) for part in parts] for scene in scenes], device=images.device)
    alike = torch.tensor([[one == other for other in prompts] for one in prompts], device=images.device)
    scale = clip.logit_scale.exp().clamp(max=60.0)
    return torch.stack(
        [
            contrast(seen, true, false, scale, fitting),
            contrast(asked, kept, lost, scale, alike),
            naming_losses(model.parts(seen * _WIDTH**0.5).float(), parts_of(scenes).to(images.device)).sum(),
        ]
    )


def train_scorer(folder: Path, album_folder: Path, *, steps: int, device: str) -> None:
    """Trains up to `steps`, going on from the checkpoint in `folder`; looks at the judge's album."""
    torch.manual_seed(_SEED)
    tokenizer = tokenizer_for(folder)
    album = pictures(album_folder, "judge", PICTURES, worn=WORN)
    model = Scorer(tokenizer).to(device)
    optimizer = torch.optim.AdamW(model.parameters(), lr=_RATE, betas=(0.9, 0.98), weight_decay=0.05)
    state = TrainingState(folder, {"scorer": model}, {"scorer": optimizer}, ema_decay=0.99)
    weights = torch.tensor([1.0, 0.7, _PARTS_WEIGHT], device=device)
    for step in range(state.resume(), steps):
        set_rates([optimizer], cosine(step, steps, peak=1.0, floor=0.02, warmup=60))
        rng = np.random.default_rng((_SEED, step))
        chosen = np.sort(rng.choice(PICTURES, _BATCH, replace=False))
        images = torch.from_numpy(mirrored(album[chosen], rng)).to(device)
        with torch.autocast(device, torch.bfloat16):
            parts = step_loss(model, tokenizer, [scene_at("judge", int(i)) for i in chosen], images, rng)
        optimizer.zero_grad()
        torch.autograd.backward((parts * weights).sum())
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        state.average()
        if step % 25 == 0:
            captions, rewrites, named = parts.tolist()
            state.log(captions=captions, rewrites=rewrites, parts=named)
        if step % 200 == 199 or step == steps - 1:
            state.save()


def export_scorer(folder: Path, destination: Path) -> None:
    """Writes the averaged weights in half precision with tokenizer and image processor."""
    tokenizer = AutoTokenizer.from_pretrained(folder / "tokenizer")
    clip = build_clip(tokenizer)
    weights = averaged_weights(folder, "scorer")
    clip.load_state_dict({k.removeprefix("clip."): v for k, v in weights.items() if k.startswith("clip.")})
    clip.set_attn_implementation("sdpa")
    clip.half().save_pretrained(destination)
    tokenizer.save_pretrained(destination)
    square = {"height": SEEN_SIZE, "width": SEEN_SIZE}
    CLIPImageProcessorPil(size={"shortest_edge": SEEN_SIZE}, crop_size=square).save_pretrained(destination)
