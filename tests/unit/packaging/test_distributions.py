"""What the three wheels hold: built here, installed by `make release` and the nightly tests."""

from __future__ import annotations

import email
import subprocess
import tarfile
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from email.message import Message
from pathlib import Path

import pytest
from hatchling.builders.sdist import SdistBuilder
from hatchling.builders.wheel import WheelBuilder

ROOT = Path(__file__).parents[3]
PROJECTS = {
    "emofeedback": ROOT,
    "emofeedback-nano": ROOT / "services" / "emofeedback" / "nano",
    "emofeedback-trainer": ROOT / "trainer",
}
CLIENT_BYTES = 1_000_000
WEIGHT_BYTES = 32_000_000


@dataclass(frozen=True)
class Wheel:
    """A wheel's names and sizes, and what its metadata says."""

    path: Path
    files: Mapping[str, int]
    metadata: Message

    def weights(self) -> int:
        """Bytes of tensors."""
        return sum(size for name, size in self.files.items() if name.endswith(".safetensors"))


def read(path: Path) -> Wheel:
    with zipfile.ZipFile(path) as wheel:
        files = {entry.filename: entry.file_size for entry in wheel.infolist()}
        [metadata] = [name for name in files if name.endswith(".dist-info/METADATA")]
        return Wheel(path, files, email.message_from_bytes(wheel.read(metadata)))


@pytest.fixture(scope="module")
def wheels(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Wheel]:
    folder = tmp_path_factory.mktemp("wheels")
    return {
        name: read(Path(next(WheelBuilder(str(root)).build(directory=str(folder), versions=["standard"]))))
        for name, root in PROJECTS.items()
    }


def test_a_client_is_small_and_has_neither_weights_nor_trainer(wheels: dict[str, Wheel]) -> None:
    client = wheels["emofeedback"]
    assert client.path.stat().st_size < CLIENT_BYTES
    assert client.weights() == 0
    assert {name.split("/")[0] for name in client.files} == {
        "emofeedback",
        f"{client.path.name.split('-py3')[0]}.dist-info",
    }


def test_all_weights_together_stay_within_what_the_repository_may_hold(wheels: dict[str, Wheel]) -> None:
    assert 0 < sum(wheel.weights() for wheel in wheels.values()) < WEIGHT_BYTES


def test_every_file_of_the_packages_is_in_exactly_one_wheel(wheels: dict[str, Wheel]) -> None:
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "services", "trainer"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    ).stdout.splitlines()
    project = ("services/emofeedback/nano/pyproject.toml", "services/emofeedback/nano/LICENSE")
    packages = ("services/emofeedback/", "trainer/emofeedback_trainer/")
    ours = {name.split("/", 1)[1] for name in listed if name.startswith(packages) and name not in project}
    there = {name for name in ours if any((ROOT / folder / name).is_file() for folder in ("services", "trainer"))}
    packed = [name for wheel in wheels.values() for name in wheel.files if ".dist-info/" not in name]
    assert sorted(packed) == sorted(there)


def test_they_have_one_version_and_ask_for_each_other_by_it(wheels: dict[str, Wheel]) -> None:
    [version] = {wheel.metadata["Version"] for wheel in wheels.values()}
    asked = {
        requirement.partition(";")[0].strip()
        for wheel in wheels.values()
        for requirement in wheel.metadata.get_all("Requires-Dist", [])
        if requirement.startswith("emofeedback")
    }
    assert f"emofeedback-nano=={version}" in asked
    assert any(one.startswith("emofeedback[") and one.endswith(f"=={version}") for one in asked)


@pytest.mark.parametrize("name", PROJECTS)
def test_each_brings_its_license(wheels: dict[str, Wheel], name: str) -> None:
    wheel = wheels[name]
    assert wheel.metadata["License-Expression"] == "Apache-2.0"
    assert any(file.endswith(".dist-info/licenses/LICENSE") for file in wheel.files)
    assert (PROJECTS[name] / "LICENSE").read_bytes() == (ROOT / "LICENSE").read_bytes()


def test_the_source_distribution_brings_the_protos_and_nothing_but_the_client_and_services(tmp_path: Path) -> None:
    path = next(SdistBuilder(str(ROOT)).build(directory=str(tmp_path), versions=["standard"]))
    with tarfile.open(path) as archive:
        names = {name.split("/", 1)[1] for name in archive.getnames()}
    assert {f"protos/{proto.relative_to(ROOT / 'protos')}" for proto in (ROOT / "protos").rglob("*.proto")} <= names
    assert {name.split("/")[0] for name in names} == {
        *(".gitignore", "CHANGELOG.md", "LICENSE", "PKG-INFO", "README.md", "protos", "pyproject.toml", "services")
    }
    assert not any(name.startswith("services/emofeedback/nano") for name in names)
