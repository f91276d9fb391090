"""What can be held against the Dockerfiles without building them; `make lint` runs hadolint besides."""

from __future__ import annotations

import re
import subprocess
import tomllib
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
FILES = [ROOT / "services" / "Dockerfile", ROOT / "trainer" / "Dockerfile"]


@dataclass(frozen=True)
class Stage:
    """One FROM and what follows it."""

    base: str
    name: str
    instructions: list[tuple[str, str]]
    """Keyword and the rest, continued lines joined."""

    def of(self, keyword: str) -> list[str]:
        return [rest for word, rest in self.instructions if word == keyword]


def read(path: Path) -> list[Stage]:
    text = re.sub(r"^\s*#.*\n", "", path.read_text(), flags=re.MULTILINE).replace("\\\n", " ")
    stages: list[Stage] = []
    for line in filter(None, map(str.strip, text.splitlines())):
        keyword, _, rest = line.partition(" ")
        if keyword == "FROM":
            base, _, name = rest.partition(" AS ")
            stages.append(Stage(base, name, []))
        else:
            stages[-1].instructions.append((keyword, " ".join(rest.split())))
    return stages


@pytest.fixture(params=FILES, ids=lambda path: path.parent.name)
def stages(request: pytest.FixtureRequest) -> list[Stage]:
    return read(request.param)


def copied(stages: list[Stage]) -> set[str]:
    """What is taken from the repository."""
    return {
        source
        for stage in stages
        for copy in stage.of("COPY")
        if not copy.startswith("--from")
        for source in copy.split()[:-1]
    }


def test_the_base_is_an_exact_version_held_by_its_digest_and_nothing_is_latest(stages: list[Stage]) -> None:
    [pulled] = {stage.base for stage in stages} - {stage.name for stage in stages}
    assert re.fullmatch(r"python:3\.11\.\d+-slim-bookworm@sha256:[0-9a-f]{64}", pulled)
    assert "latest" not in str(stages)


def test_both_images_stand_on_the_same_base() -> None:
    assert len({read(path)[0].base for path in FILES}) == 1


def test_the_image_runs_as_a_user_whose_number_shows_that_it_is_not_root(stages: list[Stage]) -> None:
    [user] = stages[-1].of("USER")
    assert re.fullmatch(r"[1-9]\d*:[1-9]\d*", user)  # Kubernetes can't tell that a name is not root
    after = [word for word, _ in stages[-1].instructions]
    assert "RUN" not in after[after.index("USER") :]


def test_everything_that_is_copied_is_there_tracked_and_let_through_to_the_builder(stages: list[Stage]) -> None:
    ignore = (ROOT / ".dockerignore").read_text().splitlines()
    assert ignore[1] == "*"  # nothing but what is named, so no environment, weights or runs of whoever builds
    let_through = [Path(line[1:]) for line in ignore if line.startswith("!")]
    assert all(any(Path(path).is_relative_to(folder) for folder in let_through) for path in copied(stages))
    for path in copied(stages):
        tracked = subprocess.run(["git", "ls-files", "--error-unmatch", path], cwd=ROOT, capture_output=True)
        assert tracked.returncode == 0, f"{path} is not in the repository"


def test_nothing_is_let_through_that_no_image_copies() -> None:
    let_through = {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    assert let_through <= set().union(*(copied(read(path)) for path in FILES))


def test_dependencies_are_pinned_and_come_before_the_code(stages: list[Stage]) -> None:
    dependencies = next(stage for stage in stages if stage.name == "dependencies")
    [install] = [run for run in dependencies.of("RUN") if " install " in run]
    assert re.search(r" -c (pins|constraints)\.txt ", install)
    extras = re.search(r"\"\.\[([a-z,]+)\]\"", install)
    known = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    assert extras is not None and set(extras[1].split(",")) <= known.keys()
    assert {Path(path).name for path in copied([dependencies])} == {"pyproject.toml", "constraints.txt"}
    final = stages[-1]
    order = [rest for word, rest in final.instructions if word in ("COPY", "RUN")]
    environment = next(i for i, rest in enumerate(order) if rest.startswith("--from=dependencies"))
    package = next(i for i, rest in enumerate(order) if "from=package" in rest)
    assert environment < package  # a change of the code leaves the large layer as it is


def test_the_last_stage_takes_no_sources_and_leaves_no_build_tools(stages: list[Stage]) -> None:
    final = stages[-1]
    assert copied([final]) == set()
    assert "pip uninstall --yes --quiet setuptools wheel pip" in " ".join(final.of("RUN"))
    compilers = [run for run in final.of("RUN") if "gcc" in run]
    assert all(run.startswith('if [ -n "$VLLM" ]') for run in compilers)  # Triton compiles at run time


def test_the_commands_that_the_chart_calls_are_those_of_the_package() -> None:
    projects = [tomllib.loads((ROOT / path / "pyproject.toml").read_text())["project"] for path in (".", "trainer")]
    scripts = {script for project in projects for script in project["scripts"]}
    for path in FILES:
        [command] = read(path)[-1].of("CMD")
        assert re.match(r'\["([\w-]+)"', command)[1] in scripts  # type: ignore[index]
