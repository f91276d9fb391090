"""`emofeedback-train evaluate policy` with the embedded models."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers import SD3Transformer2DModel
from peft import LoraConfig, get_peft_model_state_dict
from PIL import Image

from emofeedback.domain.generation import ModelInfo
from emofeedback.generator.policy_store import PolicyStore
from emofeedback.generator.preflight import WEIGHTED
from emofeedback.profiles.builtin import NANO
from emofeedback.storage.checkpoints import digest
from emofeedback_trainer.cli import main
from emofeedback_trainer.core.publish import publish
from emofeedback_trainer.evaluation import plane_picture

BASE = NANO / "generator"


@pytest.fixture(scope="module")
def shelf(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Policies of the embedded generator: one that changes nothing, and one that changes much."""
    folder = tmp_path_factory.mktemp("policies")
    transformer = SD3Transformer2DModel.from_pretrained(BASE / "transformer")
    transformer.add_adapter(LoraConfig(r=2, lora_alpha=2, target_modules=["attn.to_q", "attn.to_v"]))
    untrained = {name: weight.detach() for name, weight in get_peft_model_state_dict(transformer).items()}
    torch.manual_seed(0)
    strong = {name: torch.randn_like(weight) for name, weight in untrained.items()}
    model = ModelInfo(name=BASE.name, digest=digest(BASE, WEIGHTED))
    for name, weights in (("still", untrained), ("strong", strong)):
        publish(str(folder), name, weights, rank=2, alpha=2, base=model, run="test", step=0)
    return folder


def metrics(words: list[str], capsys: pytest.CaptureFixture[str]) -> dict[str, dict[str, float]]:
    assert main(["evaluate", "policy", *words, "--limit", "2", "--json"]) == 0
    content = json.loads(capsys.readouterr().out)
    maker = content["provenance"]["models"][0]
    assert content["provenance"]["data"][0]["n"] == 2 and maker["policy"] == words[1]
    assert maker["policy_digest"] == PolicyStore(words[3]).manifest(words[1]).digest
    return {row["what"]: row for row in content["metrics"]}


def test_an_adapter_that_changes_nothing_measures_as_the_base(shelf: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = metrics(["--policy", "still", "--policies", str(shelf)], capsys)
    for name in ("error abs(dV) + abs(dA)", "diversity within a group", "edges"):
        assert found[name]["policy"] == found[name]["base"]


def test_an_unknown_policy_is_said(shelf: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["evaluate", "policy", "--policy", "cold", "--policies", str(shelf), "--limit", "2"]) == 1
    assert "policy 'cold' is unknown, known are: still, strong" in capsys.readouterr().err


def test_the_tables_and_the_picture_are_kept(
    shelf: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(plane_picture, "_GRID", 2)
    out = tmp_path / "evaluation"
    found = metrics(["--policy", "strong", "--policies", str(shelf), "--out", str(out)], capsys)
    assert found["edges"]["policy"] != found["edges"]["base"]
    assert {file.name for file in out.iterdir()} == {
        *("table.md", "metrics.json", "plane.png", "settings.json", "pictures"),
    }
    assert "| valence: correlation of result with target |" in (out / "table.md").read_text()
    picture = Image.open(out / "plane.png")
    left, right = (np.asarray(picture.crop(box)) for box in halves(picture))
    assert left.shape == right.shape and (left != right).any()


def halves(picture: Image.Image) -> list[tuple[int, int, int, int]]:
    """The base's plane and the policy's, without what lies between them."""
    width = (picture.width - 24) // 2
    return [(0, 100, width, picture.height), (picture.width - width, 100, picture.width, picture.height)]
