"""Makes the helper modules beside the tests importable, and keeps torch from taking both cores for tiny tensors."""

import io
import os
import signal
import sys
from pathlib import Path

import pytest

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ["XDG_CONFIG_HOME"] = os.devnull  # whoever runs the tests may have defaults of their own
sys.path.insert(0, str(Path(__file__).parent))
# A test run in the background of a script ignores Ctrl-C, and so would every command that the tests interrupt.
signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def tiny_sd3(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random-weight SD3 checkpoint, with T5."""
    from support.tiny_checkpoints import save_tiny_sd3

    return save_tiny_sd3(tmp_path_factory.mktemp("sd3") / "tiny-sd3")


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
    """A folder with two Qwen2.5-VL checkpoints, `judge`, which has learned its replies, and `babbler`, of random
    weights; and a CLIP, `scorer`."""
    from support.tiny_judges import save_tiny_clip, save_tiny_qwen25vl

    folder = tmp_path_factory.mktemp("judges")
    save_tiny_qwen25vl(folder / "judge", taught=True)
    save_tiny_qwen25vl(folder / "babbler")
    save_tiny_clip(folder / "scorer")
    return folder
