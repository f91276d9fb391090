"""Pictures of many callers, decoded side by side."""

import asyncio
import os
import sys
import threading

import pytest
from PIL.Image import Image

from emofeedback.domain.errors import InvalidRequest
from emofeedback.judge.decoding import SMALL_PIXELS, read_in_turn
from support.pictures import RED, encoded, red

LARGE = encoded(red(size=(2100, 2000)))


async def test_large_pictures_go_one_by_one_and_small_ones_past_them() -> None:
    assert SMALL_PIXELS < 2100 * 2000
    begun, go_on, at_once = threading.Semaphore(0), threading.Event(), []

    def held(image: Image) -> None:
        at_once.append(image.size)
        begun.release()
        assert go_on.wait(60)

    large = [asyncio.create_task(read_in_turn(LARGE, field="image", max_pixels=None, then=held)) for _ in range(3)]
    assert await asyncio.to_thread(begun.acquire, True, 60)
    small = await read_in_turn(encoded(red()), field="image", max_pixels=None, then=lambda image: image)
    assert small.getpixel((5, 5)) == RED
    assert len(at_once) == 1
    go_on.set()
    await asyncio.gather(*large)
    assert len(at_once) == 3


@pytest.mark.skipif(sys.platform != "linux", reason="threads have a niceness of their own on Linux alone")
async def test_who_decodes_large_pictures_leaves_the_cpus_to_all_others() -> None:
    async def niceness(picture: bytes) -> int:
        return await read_in_turn(picture, field="image", max_pixels=None, then=lambda image: os.nice(0))

    assert await niceness(encoded(red())) == os.nice(0)
    assert await niceness(LARGE) > os.nice(0)


async def test_a_picture_is_scaled_before_it_is_kept() -> None:
    image = await read_in_turn(LARGE, field="image", max_pixels=10_000, then=lambda image: image)
    assert image.width * image.height <= 10_000


async def test_a_bad_picture_is_named() -> None:
    with pytest.raises(InvalidRequest, match=r"^images\[2\]: is not a readable"):
        await read_in_turn(b"no", field="images[2]", max_pixels=None, then=lambda image: image)
