"""A measurement's folder: with which settings it goes on, and which pictures it has."""

from pathlib import Path

import pytest

from emofeedback.domain.errors import FailedPrecondition, InvalidRequest
from emofeedback.profiles.builtin import NANO_PROFILE
from emofeedback_trainer.evaluation.going_on import SETTINGS, KeptPictures, claim, of_profile


def test_a_folder_keeps_its_settings_and_takes_further_ones(tmp_path: Path) -> None:
    claim(tmp_path, {"digest": {"judge": "a"}, "limit": None})
    claim(tmp_path, {"digest": {"witness": "b"}})
    claim(tmp_path, {"digest": {"judge": "a", "witness": "b"}, "limit": None})
    for other, problem in (
        ({"digest": {"judge": "c"}}, "digest.judge: is 'c', the run was begun with 'a'"),
        ({"limit": 2}, "limit: is 2, the run was begun with None: give it that, or another folder"),
    ):
        with pytest.raises(InvalidRequest, match=problem):
            claim(tmp_path, other)
    (tmp_path / SETTINGS).write_text("[")
    with pytest.raises(FailedPrecondition, match=r"settings\.json can't be read"):
        claim(tmp_path, {"limit": 2})
    claim(None, {"limit": 2})


def test_a_profiles_settings_are_those_that_what_is_measured_follows_from() -> None:
    settings = of_profile(NANO_PROFILE)
    assert {"generator.steps", "generator.policy", "judge.max_pixels", "optimizer.rewrites"} <= set(settings)
    assert not {"judge.checkpoint", "generator.max_batch", "name", "serving.judge.cpus"} & set(settings)


async def test_a_pair_is_painted_again_where_one_of_its_pictures_is_missing(tmp_path: Path) -> None:
    painted: list[int] = []

    async def pair(kept: KeptPictures, number: int) -> list[bytes]:
        async def paint() -> list[bytes]:
            painted.append(number)
            return [f"{number}-{image}".encode() for image in range(2)]

        return await kept.of_pair("fused, imagined", number, 2, paint)

    kept = KeptPictures(tmp_path)
    first = [await pair(kept, number) for number in range(2)]
    (tmp_path / "pictures" / "fused-imagined" / "pair-02-image-1.png").unlink()
    assert [await pair(kept, number) for number in range(2)] == first
    assert painted == [0, 1, 1]
    assert await pair(KeptPictures(None), 0) == first[0] and painted == [0, 1, 1, 0]
