"""Whether the GPU here is large enough, and which built-in profile fits where it isn't."""

from __future__ import annotations

from emofeedback.domain.errors import FailedPrecondition
from emofeedback.profiles.builtin import PROFILES
from emofeedback.storage.checkpoints import check_device

_GIB = 2**30


def require_card(device: str, minimum_gpu_memory_gib: float, key: str) -> None:
    """Make sure that the device is there and has this much memory free.

    Args:
        key: of the profile that names the device.

    Raises:
        FailedPrecondition: CUDA is asked for and missing, or its free memory is below the minimum; the message names
            the largest built-in profile that fits.
    """
    check_device(device, key)
    if device != "cuda":
        return
    import torch

    free, total = torch.cuda.mem_get_info()
    if free < minimum_gpu_memory_gib * _GIB:
        raise FailedPrecondition(
            f"this model needs {minimum_gpu_memory_gib:g} GiB of GPU memory, {free / _GIB:.1f} of "
            f"{total / _GIB:.1f} GiB are free; {_fitting(free / _GIB)}"
        )


def _fitting(free_gib: float) -> str:
    """Which profile's whole stack runs on one card with so much memory."""
    needs = {
        profile.name: profile.generator.minimum_gpu_memory_gib + profile.judge.minimum_gpu_memory_gib
        for profile in PROFILES.values()
        if profile.generator.device == "cuda"
    }
    name = max((name for name in needs if needs[name] <= free_gib), key=lambda name: needs[name], default="")
    if not name:
        return "the profile nano runs without a GPU"
    return f"the profile {name} fits: generator and judge together need {needs[name]:g} GiB"
