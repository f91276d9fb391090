"""The Python in the documents type-checks as a user's would, and the installed package brings its types."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
DOCUMENTS = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]


def examples() -> list[tuple[str, str]]:
    return [
        (f"{document.stem}_{number}", code)
        for document in DOCUMENTS
        for number, code in enumerate(re.findall(r"^```python\n(.*?)^```", document.read_text(), re.M | re.S))
    ]


def test_the_readme_shows_the_shortest_way_to_a_picture() -> None:
    assert any("client.create(" in code for name, code in examples() if name.startswith("README"))


def test_every_python_example_passes_mypy_strict(tmp_path: Path) -> None:
    for name, code in examples():
        (tmp_path / f"{name.replace('-', '_')}.py").write_text(code)
    files = sorted(map(str, tmp_path.glob("*.py")))
    checked = subprocess.run(
        [sys.executable, "-m", "mypy", "--strict", *files], cwd=ROOT, capture_output=True, text=True, timeout=600
    )
    assert files and checked.returncode == 0, checked.stdout + checked.stderr


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What mypy has learned of the installed packages; that takes it most of its time."""
    return tmp_path_factory.mktemp("mypy")


def checked_elsewhere(folder: Path, code: str, cache: Path) -> subprocess.CompletedProcess[str]:
    """What mypy, as a user's project runs it, says of a script in a folder of its own."""
    (folder / "script.py").write_text(code)
    mypy = [sys.executable, "-m", "mypy", "--strict", f"--cache-dir={cache}", "script.py"]
    return subprocess.run(mypy, cwd=folder, capture_output=True, text=True, timeout=600)


@pytest.mark.parametrize("package", ["emofeedback", "emofeedback_trainer.core.config"])
def test_mypy_finds_the_types_of_the_installed_package_from_any_folder(
    tmp_path: Path, cache: Path, package: str
) -> None:
    checked = checked_elsewhere(tmp_path, f"import {package}\nprint({package}.__name__)\n", cache)
    assert checked.returncode == 0, checked.stdout + checked.stderr


def test_mypy_sees_a_wrong_argument_of_the_installed_sdk(tmp_path: Path, cache: Path) -> None:
    code = 'import emofeedback\nemofeedback.Client("127.0.0.1:9000").create(5)\n'
    checked = checked_elsewhere(tmp_path, code, cache)
    assert 'has incompatible type "int"; expected "str"' in checked.stdout
