"""The Python in the documents type-checks as a user's would, and the installed package brings its types."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from support.documents import ROOT, blocks

MYPY = [sys.executable, "-m", "mypy", "--strict"]

# A user's project; what PyTorch and the like have to say would take a minute and is not asked for.
USERS = """
[mypy]
[mypy-torch.*,transformers.*,diffusers.*,peft.*,accelerate.*,safetensors.*,numpy.*,PIL.*]
follow_imports = skip
ignore_missing_imports = True
"""


def test_the_readme_shows_the_shortest_way_to_a_picture() -> None:
    assert any("client.create(" in block.code for block in blocks("python") if block.document.name == "README.md")


def test_every_python_example_passes_mypy_strict(tmp_path: Path) -> None:
    """With the repository's own cache, which `make types` has filled."""
    for block in blocks("python"):
        (tmp_path / f"{block.name}.py").write_text(block.code)
    files = sorted(map(str, tmp_path.glob("*.py")))
    checked = subprocess.run([*MYPY, *files], cwd=ROOT, capture_output=True, text=True, timeout=600)
    assert files and checked.returncode == 0, checked.stdout + checked.stderr


def test_the_installed_package_brings_its_types_to_any_folder(tmp_path: Path) -> None:
    """Both packages are found with their types, and a wrong argument of the SDK is seen."""
    (tmp_path / "mypy.ini").write_text(USERS)
    (tmp_path / "right.py").write_text("import emofeedback_trainer.core.config as config\nprint(config.__name__)\n")
    (tmp_path / "wrong.py").write_text('import emofeedback\nemofeedback.Client("127.0.0.1:9000").create(5)\n')
    checked = subprocess.run([*MYPY, "right.py", "wrong.py"], cwd=tmp_path, capture_output=True, text=True, timeout=600)
    [error, summary] = checked.stdout.splitlines()
    assert error.startswith("wrong.py:2") and 'has incompatible type "int"; expected "str"' in error, checked.stdout
    assert "Found 1 error in 1 file" in summary
