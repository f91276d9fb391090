"""The command with the real engines in process, on tiny random checkpoints of the full-size formats."""

from __future__ import annotations

import io
import json
import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image
from safetensors import safe_open
from safetensors.torch import load_file, save

from emofeedback.cli.main import main
from emofeedback.generator.policy_store import WEIGHTS
from emofeedback.runs.directory import read_run
from support.tiny_checkpoints import save_policy_of, save_tiny_policy
from support.tiny_judges import save_tiny_clip, save_tiny_qwen25vl


@pytest.fixture(scope="module")
def profile(tiny_sd3: Path, tmp_path_factory: pytest.TempPathFactory) -> str:
    """A profile file that starts from `sd35-medium` and names the tiny checkpoints."""
    folder = tmp_path_factory.mktemp("profile")
    save_tiny_qwen25vl(folder / "judge", taught=True)
    save_tiny_clip(folder / "scorer")
    path = folder / "tiny.toml"
    path.write_text(
        f"""
extends = "sd35-medium"

[generator]
checkpoint = "{tiny_sd3}"
width = 32
height = 32
steps = 2
device = "cpu"
dtype = "float32"
max_text_tokens = 24
minimum_gpu_memory_gib = 0

[judge]
checkpoint = "{folder / "judge"}"
engine = "transformers"
scorer = "{folder / "scorer"}"
scorer_processor = "{folder / "scorer"}"
max_pixels = 3136
max_reasoning_tokens = 120
device = "cpu"
dtype = "float32"
minimum_gpu_memory_gib = 0

[optimizer]
max_analysis_tokens = 16
max_rewrite_tokens = 16
"""
    )
    return str(path)


def test_the_same_seed_paints_the_same_pixels_and_no_library_chatters(
    profile: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    create = ["create", "a boat", "--emotion", "awe", "--rounds", "2", "--images", "2", "--profile", profile]
    for name in ("one", "two"):
        assert main([*create, "--seed", "4", "--out", str(tmp_path / name)]) == 0
    assert capsys.readouterr().err == ""
    one, two = read_run(tmp_path / "one"), read_run(tmp_path / "two")
    assert one.profile == "tiny"
    assert [finished.prompt for finished in one.rounds] == [finished.prompt for finished in two.rounds]
    pictures = sorted((tmp_path / "one").glob("round-*/*.png"))
    assert len(pictures) == 4
    for picture in pictures:
        again = Image.open(tmp_path / "two" / picture.relative_to(tmp_path / "one"))
        assert Image.open(picture).tobytes() == again.tobytes()


def test_a_policy_of_a_named_store_paints_and_the_run_says_so(
    profile: str, tiny_sd3: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shelf = tmp_path / "policies"
    save_tiny_policy(shelf / "warm", tiny_sd3)
    create = ["create", "a boat", "--emotion", "awe", "--rounds", "1", "--images", "1", "--profile", profile]
    for name, words in (("warm", ["--policy", "warm"]), ("unnamed", []), ("base", ["--policy", "base"])):
        assert main([*create, "--policies", str(shelf), *words, "--out", str(tmp_path / name)]) == 0
    warm, unnamed, base = (
        (tmp_path / name / "round-1" / "image-1.png").read_bytes() for name in ("warm", "unnamed", "base")
    )
    assert warm != base == unnamed
    result = json.loads((tmp_path / "warm" / "result.json").read_text())
    assert result["generator"]["policy"] == "warm"
    assert "policy warm" in (tmp_path / "warm" / "report.html").read_text()
    assert main([*create, "--policies", str(shelf), "--policy", "cold", "--out", str(tmp_path / "cold")]) == 1
    assert "error: policy 'cold' is unknown, known are: warm" in capsys.readouterr().err


def test_a_policy_with_a_tensor_of_nan_is_one_clear_line_and_no_black_picture(
    profile: str, tiny_sd3: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    whole = save_tiny_policy(tmp_path / "shelf" / "whole", tiny_sd3) / WEIGHTS
    with safe_open(whole, "pt") as file:
        metadata = file.metadata()
    weights = load_file(whole)
    weights[next(iter(weights))] *= float("nan")
    save_policy_of(tmp_path / "shelf" / "broken", tiny_sd3, save(weights, metadata), modules=len(weights) // 2)
    words = ["--policies", str(tmp_path / "shelf"), "--policy", "broken", "--out", str(tmp_path / "run")]
    assert main(["create", "a cat", "--emotion", "awe", "--rounds", "1", "--profile", profile, *words]) == 1
    assert "error: policy 'broken' has NaN or infinity in transformer." in capsys.readouterr().err
    assert list((tmp_path / "run").rglob("*.png")) == []


def test_a_checkpoint_that_is_not_there_is_one_clear_line(
    profile: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    moved = tmp_path / "moved.toml"
    moved.write_text(Path(profile).read_text().replace("tiny-sd3", "lost-sd3"))
    assert main(["create", "x", "--emotion", "awe", "--profile", str(moved), "--out", str(tmp_path / "run")]) == 1
    said = capsys.readouterr().err
    assert said.startswith("error: ") and "lost-sd3" in said and said.count("\n") == 1
    assert list((tmp_path / "run").iterdir()) == []


def saved(image: Image.Image, format: str, **options: object) -> bytes:
    file = io.BytesIO()
    image.save(file, format, **options)
    return file.getvalue()


def hundred_megapixels() -> bytes:
    """The beginning of a PNG whose header claims 10,000 x 10,000 pixels."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", 10_000, 10_000, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(bytes(100)))


TEAL = Image.new("RGB", (48, 48), "teal")
NOISE = Image.effect_noise((64, 64), 90).convert("RGB")
FINE: dict[str, Callable[[], bytes]] = {
    "rgb.png": lambda: saved(TEAL, "PNG"),
    "sixteen-bit.png": lambda: saved(Image.new("I;16", (48, 48), 40_000), "PNG"),
    "cmyk.jpg": lambda: saved(TEAL.convert("CMYK"), "JPEG"),
    "transparent.png": lambda: saved(Image.new("RGBA", (48, 48), (200, 30, 30, 0)), "PNG"),
    "web.webp": lambda: saved(TEAL, "WEBP"),
}
REFUSED: dict[str, tuple[Callable[[], bytes], str]] = {
    "truncated.png": (lambda: saved(NOISE, "PNG")[:2000], "is cut off or damaged"),
    "text.png": (lambda: b"not an image at all", "is not a readable PNG, JPEG, WebP, GIF"),
    "animated.webp": (lambda: saved(TEAL, "WEBP", save_all=True, append_images=[NOISE.resize((48, 48))]), "animated"),
    "huge.png": (hundred_megapixels, "pixels"),
    "empty.png": (lambda: b"", "is empty"),
}


def test_bad_images_are_refused_by_name_and_the_others_are_judged(
    profile: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, make in {**FINE, **{name: make for name, (make, _) in REFUSED.items()}}.items():
        (tmp_path / name).write_bytes(make())
    files = sorted(str(path) for path in tmp_path.iterdir())
    assert main(["assess", *files, "--json", "--profile", profile]) == 1
    said = capsys.readouterr()
    lines = [json.loads(line) for line in said.out.splitlines()]
    assert {Path(line["path"]).name for line in lines} == set(FINE)
    assert all(1 <= line["valence"] <= 9 and 1 <= line["arousal"] <= 9 for line in lines)
    errors = {Path(line.split(": ")[1]).name: line for line in said.err.splitlines()}
    assert errors.keys() == REFUSED.keys()
    for name, (_, problem) in REFUSED.items():
        assert problem in errors[name]


def test_explain_brings_the_judge_s_reasoning(profile: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "photo.png").write_bytes(saved(TEAL, "PNG"))
    assert main(["assess", str(tmp_path / "photo.png"), "--explain", "--json", "--profile", profile]) == 0
    assert json.loads(capsys.readouterr().out)["reasoning"] == "It glows."
