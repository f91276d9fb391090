"""Makes the helper modules beside the tests importable, and keeps torch from taking both cores for tiny tensors."""

from __future__ import annotations

import gc
import io
import os
import signal
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from emofeedback.generator.local import LocalGenerator
    from emofeedback.generator.sampler import Sample

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("HF_HUB_OFFLINE", "1")
# Ray reads these once, when it is imported, as some tests do long before others start a cluster.
os.environ.update(RAY_AUTH_MODE="token", RAY_USAGE_STATS_ENABLED="0", RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER="0")
os.environ["XDG_CONFIG_HOME"] = os.devnull  # whoever runs the tests may have defaults of their own
sys.path.insert(0, str(Path(__file__).parent))
# What is imported to collect the tests is no garbage, and a walk through all of it takes a second each time.
gc.disable()
# A test run in the background of a script ignores Ctrl-C, and so would every command that the tests interrupt.
signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_collection_finish() -> None:
    gc.freeze()
    gc.enable()


with suppress(ModuleNotFoundError):  # the environment of a real vLLM goes without
    from hypothesis import HealthCheck, settings

    # How long an example takes is the machine's doing, and others may use it too.
    settings.register_profile("emofeedback", deadline=None, suppress_health_check=[HealthCheck.too_slow])
    settings.load_profile("emofeedback")


@pytest.fixture
def unused_tcp_port() -> int:
    """Takes the place of pytest-asyncio's, whose port the system may give away before a test listens on it."""
    from support.running_services import free_port

    return free_port()


@pytest.fixture(scope="session")
def tiny_sd3(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random-weight SD3 checkpoint, with T5."""
    from support.tiny_checkpoints import save_tiny_sd3

    return save_tiny_sd3(tmp_path_factory.mktemp("sd3") / "tiny-sd3")


@pytest.fixture(scope="session")
def policies(tiny_sd3: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with two policies of the tiny SD3, `warm` and `cold`, and one that can't be read, `broken`."""
    from support.tiny_checkpoints import save_policy_of, save_tiny_policy

    folder = tmp_path_factory.mktemp("policies")
    save_tiny_policy(folder / "warm", tiny_sd3, seed=1)
    save_tiny_policy(folder / "cold", tiny_sd3, seed=2)
    save_policy_of(folder / "broken", tiny_sd3, b"not safetensors")
    return folder


@pytest.fixture(scope="session")
def engine(tiny_sd3: Path, policies: Path) -> Iterator[LocalGenerator]:
    """The tiny SD3, loaded: three steps, up to four images at a time."""
    from emofeedback.generator.local import LocalGenerator
    from support.tiny_checkpoints import tiny_sd3_settings

    settings = tiny_sd3_settings(tiny_sd3, steps=3, max_batch=4, policies=str(policies), threads=1)
    generator = LocalGenerator.load(settings)
    yield generator
    generator.close()


@pytest.fixture
def forwards(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Batch size of every denoising step; each takes 20 ms, so that there is time to interfere."""
    from emofeedback.generator.sampler import advance

    sizes: list[int] = []

    def slow(models: Any, samples: Sequence[Sample]) -> None:
        sizes.append(len(samples))
        time.sleep(0.02)
        advance(models, samples)

    monkeypatch.setattr("emofeedback.generator.sampler_thread.advance", slow)
    return sizes


@pytest.fixture(scope="session")
def scene() -> bytes:
    """A PNG of the embedded world."""
    import numpy as np

    from emofeedback_trainer.nano.world.rendering import render
    from emofeedback_trainer.nano.world.scenes import sample_scene

    buffer = io.BytesIO()
    render(sample_scene(np.random.default_rng(5)), 128).save(buffer, "PNG")
    return buffer.getvalue()


@pytest.fixture(scope="session")
def tiny_judges(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with three Qwen2.5-VL checkpoints: `judge`, which has learned its replies, `reasoner`, the same with
    reasoning tokens, and `babbler`, of random weights; and a CLIP, `scorer`."""
    from support.reasoning_judge import untrained_reasoning_judge
    from support.tiny_judges import save_tiny_clip, save_tiny_qwen25vl

    folder = tmp_path_factory.mktemp("judges")
    save_tiny_qwen25vl(folder / "judge", taught=True)
    untrained_reasoning_judge(folder / "reasoner", of=folder / "judge", reasons=16)
    save_tiny_qwen25vl(folder / "babbler")
    save_tiny_clip(folder / "scorer")
    return folder
