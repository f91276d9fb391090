"""The version has one home, and what users have does not change in silence."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]


def released(repository: Path, script: str, *options: str) -> subprocess.CompletedProcess[str]:
    """What `release/SCRIPT` says in a repository."""
    command = [sys.executable, f"release/{script}", *options]
    return subprocess.run(command, cwd=repository, capture_output=True, text=True, timeout=300)


# --- the version -------------------------------------------------------------------------------------------------


def test_every_file_names_the_version_of_its_home() -> None:
    said = released(ROOT, "version.py")
    assert said.returncode == 0, said.stderr


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """The files that name the version."""
    for name in (
        *("pyproject.toml", "trainer/pyproject.toml", "services/emofeedback/nano/pyproject.toml"),
        *("trainer/Dockerfile", "helm/emofeedback/Chart.yaml", "release/version.py"),
    ):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, tmp_path / name)
    return tmp_path


def test_a_new_version_is_written_everywhere_and_nothing_else_changes(checkout: Path) -> None:
    number = released(checkout, "version.py").stdout.strip()
    files = [path for path in checkout.rglob("*") if path.is_file() and path.suffix != ".py"]
    before = {path: path.read_text() for path in files}
    assert released(checkout, "version.py", "--set", "7.8.9rc1").stdout.strip() == "7.8.9rc1"
    assert {path: path.read_text() for path in files} == {
        path: text.replace(number, "7.8.9rc1") for path, text in before.items()
    }


def test_a_file_that_names_another_version_is_named(checkout: Path) -> None:
    chart = checkout / "helm" / "emofeedback" / "Chart.yaml"
    chart.write_text(chart.read_text().replace("appVersion: ", "appVersion: 9"))
    said = released(checkout, "version.py")
    assert said.returncode == 1 and "Chart.yaml names 9" in said.stderr


def test_what_is_no_version_is_refused(checkout: Path) -> None:
    said = released(checkout, "version.py", "--set", "next")
    assert said.returncode == 2 and "'next' is no version" in said.stderr


# --- the changelog -----------------------------------------------------------------------------------------------

CHANGELOG = "# Changelog\n\n## [Unreleased]\n\n### Added\n\n- A studio.\n\n## [0.1.0] - 2026-01-02\n\n- All of it.\n"


class Repository:
    """A repository with a changelog and some code on `main`."""

    def __init__(self, root: Path) -> None:
        self.root = root
        (root / "release").mkdir()
        shutil.copy(ROOT / "release" / "changelog.py", root / "release")
        self.git("init", "--quiet", "--initial-branch", "main")
        self.commit("CHANGELOG.md", CHANGELOG)
        self.commit("services/loop.py", "rounds = 3\n")

    def git(self, *arguments: str) -> None:
        identity = ("-c", "user.name=Ada", "-c", "user.email=ada@example.org")
        subprocess.run(["git", *identity, *arguments], cwd=self.root, check=True, capture_output=True)

    def commit(self, name: str, text: str, message: str = "A change") -> None:
        (self.root / name).parent.mkdir(exist_ok=True)
        (self.root / name).write_text(text)
        self.git("add", name)
        self.git("commit", "--quiet", "--message", message)


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    return Repository(tmp_path)


def test_a_branch_that_changes_code_needs_an_entry(repository: Repository) -> None:
    repository.git("switch", "--quiet", "--create", "more-rounds")
    repository.commit("services/loop.py", "rounds = 5\n")
    said = released(repository.root, "changelog.py")
    assert said.returncode == 1 and "services/loop.py" in said.stderr
    repository.commit("CHANGELOG.md", CHANGELOG.replace("- A studio.\n", "- A studio.\n- Five rounds.\n"))
    assert released(repository.root, "changelog.py").returncode == 0


def test_a_line_that_is_only_in_an_old_section_is_no_entry(repository: Repository) -> None:
    repository.git("switch", "--quiet", "--create", "more-rounds")
    repository.commit("services/loop.py", "rounds = 5\n")
    repository.commit("CHANGELOG.md", CHANGELOG + "- Five rounds.\n")
    assert released(repository.root, "changelog.py").returncode == 1


@pytest.mark.parametrize(
    ("name", "message"), [("tests/test_loop.py", "A test"), ("services/loop.py", "Names\n\nChangelog: none")]
)
def test_tests_and_what_nobody_can_notice_need_none(repository: Repository, name: str, message: str) -> None:
    repository.git("switch", "--quiet", "--create", "quiet")
    repository.commit(name, "turns = 3\n", message)
    assert released(repository.root, "changelog.py").returncode == 0


def test_on_main_it_compares_with_the_last_release(repository: Repository) -> None:
    assert released(repository.root, "changelog.py").returncode == 0  # none so far, and there is an entry
    repository.git("tag", "v0.1.0")
    assert released(repository.root, "changelog.py").returncode == 0
    repository.commit("services/loop.py", "rounds = 5\n")
    assert released(repository.root, "changelog.py").returncode == 1


def test_a_release_needs_a_dated_section(repository: Repository) -> None:
    assert released(repository.root, "changelog.py", "--release", "0.1.0").returncode == 0
    assert "[0.2.0]" in released(repository.root, "changelog.py", "--release", "0.2.0").stderr
    assert released(repository.root, "changelog.py", "--since", "nowhere").returncode == 2
