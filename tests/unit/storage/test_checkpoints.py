import hashlib
import json
import os
from pathlib import Path

import pytest
import torch
from huggingface_hub import HfApi
from huggingface_hub.errors import GatedRepoError, RepositoryNotFoundError

from emofeedback.domain.errors import FailedPrecondition
from emofeedback.storage import checkpoints


def hub_error(kind: type[Exception]) -> Exception:
    return kind.__new__(kind)


@pytest.fixture
def online(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.is_offline_mode", lambda: False)


def test_a_folder_is_taken_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "model_index.json").write_text("{}")
    assert checkpoints.fetch(str(tmp_path), "model_index.json", ["vae/*"]) == tmp_path


def test_a_folder_without_its_marker_is_refused(tmp_path: Path) -> None:
    with pytest.raises(FailedPrecondition, match=r"model_index\.json is missing"):
        checkpoints.check_available(str(tmp_path), "model_index.json")


def test_a_path_that_is_not_there_is_not_looked_for_on_the_hub() -> None:
    with pytest.raises(FailedPrecondition, match="neither a folder nor a hub id"):
        checkpoints.check_available("/nowhere/at/all", "config.json")


def test_a_single_file_is_said_to_be_none(tmp_path: Path) -> None:
    (file := tmp_path / "sd3.5_medium.safetensors").touch()
    with pytest.raises(FailedPrecondition, match=r"is a single file: .*from_single_file"):
        checkpoints.check_available(str(file), "model_index.json")


def test_embedded_models_that_are_not_installed_are_said_with_how_to_get_them() -> None:
    with pytest.raises(FailedPrecondition, match="pip install emofeedback-nano"):
        checkpoints.check_available(str(checkpoints.EMBEDDED / "painter"), "config.json")


def test_offline_and_not_cached_says_both() -> None:
    with pytest.raises(FailedPrecondition, match="not in the hub cache and HF_HUB_OFFLINE is set"):
        checkpoints.check_available("owner/name", "config.json")


@pytest.mark.usefixtures("online")
@pytest.mark.parametrize(
    ("error", "sentence"),
    [
        (hub_error(GatedRepoError), "owner/name is gated: accept its terms"),
        (hub_error(RepositoryNotFoundError), "check the name and HF_TOKEN"),
        (ConnectionError("no route"), "the hub can't be reached"),
    ],
)
def test_what_the_hub_refuses_is_one_sentence(monkeypatch: pytest.MonkeyPatch, error: Exception, sentence: str) -> None:
    def refuse(self: object, repo_id: str) -> None:
        raise error

    monkeypatch.setattr(HfApi, "auth_check", refuse)
    with pytest.raises(FailedPrecondition, match=sentence):
        checkpoints.check_available("owner/name", "config.json")


def test_cuda_is_asked_for_only_where_the_profile_wants_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    checkpoints.check_device("cpu", "model.device")
    with pytest.raises(FailedPrecondition, match=r"^model\.device is cuda and no CUDA device is here"):
        checkpoints.check_device("cuda", "model.device")


def test_the_digest_is_that_of_the_sha256sum_listing(tmp_path: Path) -> None:
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "two.safetensors").write_bytes(b"two")
    (tmp_path / "one.safetensors").write_bytes(b"one")
    (tmp_path / "config.json").write_text("not a weight")
    lines = [(b"two", "b/two.safetensors"), (b"one", "one.safetensors")]
    listing = "".join(f"{hashlib.sha256(data).hexdigest()}  {name}\n" for data, name in lines)
    assert checkpoints.digest(tmp_path) == "sha256:" + hashlib.sha256(listing.encode()).hexdigest()
    assert checkpoints.digest(tmp_path, ("b",)) != checkpoints.digest(tmp_path)


def test_the_digest_trusts_the_names_of_the_hub_cache(tmp_path: Path) -> None:
    blob = hashlib.sha256(b"weights").hexdigest()
    for folder, named in (("linked", True), ("plain", False)):
        (tmp_path / folder).mkdir()
        if named:
            (tmp_path / folder / "model.safetensors").symlink_to(Path("blobs") / blob)
        else:
            (tmp_path / folder / "model.safetensors").write_bytes(b"weights")
    assert checkpoints.digest(tmp_path / "linked") == checkpoints.digest(tmp_path / "plain")


def test_a_folder_without_safetensors_has_no_digest(tmp_path: Path) -> None:
    (tmp_path / "pytorch_model.bin").write_bytes(b"pickle")
    with pytest.raises(FailedPrecondition, match="no weights in the safetensors format"):
        checkpoints.digest(tmp_path)


def _weights(folder: Path, name: str, content: bytes) -> Path:
    file = folder / name
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(content)
    return file


def test_a_large_file_is_hashed_once_and_remembered_beside_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checkpoints, "_WORTH_REMEMBERING", 4)
    _weights(tmp_path, "a/model.safetensors", b"large")
    _weights(tmp_path, "b/model.safetensors", b"1")
    whole = checkpoints.digest(tmp_path)
    lines = "".join(
        f"{hashlib.sha256(content).hexdigest()}  {name}/model.safetensors\n"
        for name, content in (("a", b"large"), ("b", b"1"))
    )
    assert whole == "sha256:" + hashlib.sha256(lines.encode()).hexdigest()
    assert list(json.loads((tmp_path / checkpoints.DIGESTS).read_text())) == ["a/model.safetensors"]
    monkeypatch.setattr(checkpoints, "_file_sha256", lambda file, *_: hashlib.sha256(b"1").hexdigest())
    assert checkpoints.digest(tmp_path) == whole


def test_a_file_that_has_changed_is_hashed_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checkpoints, "_WORTH_REMEMBERING", 4)
    file = _weights(tmp_path, "model.safetensors", b"large")
    before = checkpoints.digest(tmp_path)
    file.write_bytes(b"other")
    os.utime(file, ns=(0, 1))
    assert checkpoints.digest(tmp_path) != before


@pytest.mark.parametrize("memory", ["", "[]", "{", '{"model.safetensors": 3}', '{"model.safetensors": [5, 0, "x"]}'])
def test_a_memory_that_says_nothing_is_passed_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, memory: str
) -> None:
    monkeypatch.setattr(checkpoints, "_WORTH_REMEMBERING", 4)
    _weights(tmp_path, "model.safetensors", b"large")
    right = checkpoints.digest(tmp_path)
    (tmp_path / checkpoints.DIGESTS).write_text(memory)
    assert checkpoints.digest(tmp_path) == right


def test_a_small_checkpoint_gets_no_memory(tmp_path: Path) -> None:
    _weights(tmp_path, "model.safetensors", b"small")
    checkpoints.digest(tmp_path)
    assert not (tmp_path / checkpoints.DIGESTS).exists()
