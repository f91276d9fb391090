"""Pictures of many callers are decoded side by side here, and none waits for another's long one.

There are threads for pictures of a few megapixels and one for the others, so at most `SMALL_AT_ONCE` times
`SMALL_PIXELS` and one picture of `LIMITS.image_pixels` are held decoded, whoever sent how many: what was brought to the
model's size is all that stays. A call has one picture decoded at a time, so calls take turns in both.

The thread for large pictures is nicer than the model's: who sends one after another would else have as much of a core.

No decoder can be stopped, and none has to be: what a picture costs is bounded before (`judge.images`). Processes that
can be killed would add a copy of every picture, and a start-up of seconds each, to save at most the second or two that
the largest picture takes; one for large pictures was tried, and spared other callers nothing that could be measured.
"""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from PIL.Image import Image

from emofeedback.judge.images import decoded, opened

T = TypeVar("T")

SMALL_PIXELS = 4_000_000
SMALL_AT_ONCE = 4
_SMALL = ThreadPoolExecutor(SMALL_AT_ONCE, thread_name_prefix="small-pictures")
LARGE_NICENESS = 9
"""Beyond that of the caller's thread. Beside a model that computes on, the thread then has an eighth of a core."""


def _leave_the_model_its_core() -> None:
    if sys.platform == "linux":  # elsewhere a thread has no niceness of its own
        os.nice(LARGE_NICENESS)


_LARGE = ThreadPoolExecutor(1, thread_name_prefix="large-pictures", initializer=_leave_the_model_its_core)


async def read_in_turn(data: bytes, *, field: str, max_pixels: int | None, then: Callable[[Image], T]) -> T:
    """What `then` makes of the picture that `read_image` reads, in the same thread: the picture itself isn't kept.

    Raises:
        InvalidRequest: as `read_image`.
    """
    loop = asyncio.get_running_loop()
    picture = await loop.run_in_executor(_SMALL, lambda: opened(data, field=field))
    lane = _SMALL if picture.width * picture.height <= SMALL_PIXELS else _LARGE
    return await loop.run_in_executor(lane, lambda: then(decoded(picture, field=field, max_pixels=max_pixels)))
