"""Real pictures for a student's last lessons: from a file, from the nano world, and as latents."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from emofeedback.domain.errors import InvalidRequest
from emofeedback.generator.pipeline import load_models
from emofeedback.profiles.overrides import load_profile
from emofeedback_trainer.distillation.pictures import CaptionedPicture, encode_pictures, load_pictures
from emofeedback_trainer.distillation.shards import SHARD, read_shards
from emofeedback_trainer.nano.captioned_scenes import captioned
from support.small_trainings import tiny_profile


def written(folder: Path, *lines: object) -> str:
    (folder / "pictures.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    return str(folder / "pictures.jsonl")


def test_a_file_of_pictures_comes_again_and_again(tmp_path: Path) -> None:
    for name in ("red", "blue"):
        Image.new("RGB", (4, 4), name).save(tmp_path / f"{name}.png")
    made = load_pictures(written(tmp_path, *({"caption": f"{n} dog", "image": f"{n}.png"} for n in ("red", "blue"))))
    assert [made(number).caption for number in range(3)] == ["red dog", "blue dog", "red dog"]
    assert made(2).picture().getpixel((0, 0)) == (255, 0, 0)


@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        ({"caption": "a dog"}, r'finish.pictures\[0\]: needs the keys "caption" and "image"'),
        ({"caption": "", "image": "dog.png"}, r"finish.pictures\[0\]: caption must be a text of 1 to"),
        ({"caption": "a dog", "image": "../dog.png"}, r"finish.pictures\[0\]"),
        (["a dog"], r"finish.pictures\[0\]: needs the keys"),
    ],
)
def test_a_bad_line_is_refused_by_its_number(line: object, complaint: str, tmp_path: Path) -> None:
    with pytest.raises(InvalidRequest, match=complaint):
        load_pictures(written(tmp_path, line))


def test_a_source_that_is_none_is_refused_by_name(tmp_path: Path) -> None:
    for source in ("scenes", "no.such.module:captioned", str(tmp_path / "missing.jsonl"), written(tmp_path)):
        with pytest.raises(InvalidRequest, match=r"finish\.pictures"):
            load_pictures(source)


def test_latents_are_the_samplers(tiny_sd3: Path, tmp_path: Path) -> None:
    """What was encoded is decoded as the generator decodes what it has sampled; a picture is cut, never squeezed."""
    settings = load_profile(str(tiny_profile(tmp_path, tiny_sd3))).generator
    models = load_models(settings)
    gray = np.random.default_rng(0).integers(0, 255, (64, 32, 3), dtype=np.uint8)
    pictures = [Image.fromarray(gray), Image.fromarray(gray[16:48])]

    def of(number: int) -> CaptionedPicture:
        return CaptionedPicture(caption=f"picture {number}", picture=lambda: pictures[number % 2])

    encode_pictures(models, of, SHARD + 2, (settings.width, settings.height), tmp_path / "latents")
    made = read_shards(tmp_path / "latents")
    assert made.captions[-1] == f"picture {SHARD + 1}" and len(made.captions) == SHARD + 2
    assert made.latents.shape[1:] == models.latent_shape
    torch.testing.assert_close(made.latents[0], made.latents[1])
    pixels = torch.from_numpy(gray[16:48]).permute(2, 0, 1)[None] / 127.5 - 1
    with torch.no_grad():
        wanted = models.autoencoder.encode(pixels.to(models.autoencoder.dtype)).latent_dist.mode().float()
    config = models.autoencoder.config
    torch.testing.assert_close(
        made.latents[0].float() / config.scaling_factor + config.shift_factor, wanted[0], rtol=1e-2, atol=1e-3
    )


def test_a_cut_encoding_goes_on(tiny_sd3: Path, tmp_path: Path) -> None:
    settings = load_profile(str(tiny_profile(tmp_path, tiny_sd3))).generator
    models, asked = load_models(settings), list[int]()

    def of(number: int) -> CaptionedPicture:
        asked.append(number)
        return CaptionedPicture(caption="", picture=lambda: Image.new("RGB", (32, 32)))

    for _ in range(2):
        encode_pictures(models, of, SHARD + 1, (32, 32), tmp_path / "latents")
    assert asked == list(range(SHARD + 1))


def test_scenes_are_told_as_they_are_drawn() -> None:
    made = [captioned(number) for number in range(40)]
    assert [one.caption for one in made] == [captioned(number).caption for number in range(40)]
    numbered = sum("valence" in one.caption for one in made)
    assert 5 < numbered < 30
    assert made[0].picture().size == (256, 256)
