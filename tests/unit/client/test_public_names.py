"""`emofeedback` offers the whole SDK by name, and costs nothing before a name is used."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import emofeedback


@pytest.mark.parametrize("name", emofeedback.__all__)
def test_every_public_name_loads(name: str) -> None:
    assert getattr(emofeedback, name) is not None
    assert name in dir(emofeedback)


def test_type_checkers_see_the_names_that_load() -> None:
    tree = ast.parse(Path(emofeedback.__file__).read_text())
    imports = [node for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)]
    typed: dict[str, Any] = {
        alias.asname: node.module for node in imports for alias in node.names if alias.asname is not None
    }
    assert {name: f"emofeedback.{home}" for name, home in emofeedback._HOMES.items()} == typed


def test_a_name_that_is_none_is_said() -> None:
    with pytest.raises(AttributeError, match="'emofeedback' has no attribute 'Painter'"):
        _ = emofeedback.Painter


def test_requests_and_events_need_no_grpc() -> None:
    code = """
import sys
import emofeedback
assert not any(name.startswith("emofeedback.") for name in sys.modules), "something was loaded already"
emofeedback.OptimizationRequest, emofeedback.GroupStarted, emofeedback.InvalidRequest, emofeedback.RunRequest
assert not {"grpc", "google.protobuf", "numpy", "torch", "emofeedback.client"} & sys.modules.keys()
"""
    subprocess.run([sys.executable, "-c", code], check=True, timeout=300)
