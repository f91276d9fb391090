"""Which painted pictures an emotional memory takes."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from emofeedback.domain.affect import AffectPoint
from emofeedback_trainer.emotional_memory.admission import (
    LARGEST_GAP,
    Bounds,
    Candidate,
    Look,
    bounds_of,
    look_at,
    refusal,
    signature,
)

_BOUNDS = Bounds(brightness=(0.2, 0.8), saturation=(0.1, 0.6), edges=(0.01, 0.1), alignment=0.3)
_LOOK = Look(brightness=0.5, saturation=0.3, edges=0.05, signature=0)
_GOOD = Candidate(label=AffectPoint(7, 3), witnessed=AffectPoint(7.5, 3.5), alignment=0.4, look=_LOOK)
_ratings = st.floats(1, 9)


def test_a_confirmed_fitting_ordinary_and_new_picture_is_taken() -> None:
    assert refusal(_GOOD, _BOUNDS, [(1 << 64) - 1]) is None


@pytest.mark.parametrize(
    ("reason", "candidate"),
    [
        ("witness", replace(_GOOD, witnessed=AffectPoint(8.1, 3))),
        ("witness", replace(_GOOD, witnessed=AffectPoint(7, 1.9))),
        ("alignment", replace(_GOOD, alignment=0.29)),
        ("alignment", replace(_GOOD, alignment=float("nan"))),
        ("brightness", replace(_GOOD, look=replace(_LOOK, brightness=0.1))),
        ("saturation", replace(_GOOD, look=replace(_LOOK, saturation=0.7))),
        ("edges", replace(_GOOD, look=replace(_LOOK, edges=0.2))),
        ("duplicate", replace(_GOOD, look=replace(_LOOK, signature=(1 << 64) - 2))),
    ],
)
def test_every_other_is_refused_with_its_reason(reason: str, candidate: Candidate) -> None:
    assert refusal(candidate, _BOUNDS, [(1 << 64) - 1]) == reason


@given(_ratings, _ratings, _ratings, _ratings)
def test_no_picture_is_taken_that_the_witness_sees_more_than_a_point_from_its_label(
    valence: float, arousal: float, seen_valence: float, seen_arousal: float
) -> None:
    candidate = replace(_GOOD, label=AffectPoint(valence, arousal), witnessed=AffectPoint(seen_valence, seen_arousal))
    confirmed = abs(valence - seen_valence) <= LARGEST_GAP and abs(arousal - seen_arousal) <= LARGEST_GAP
    assert (refusal(candidate, _BOUNDS, []) is None) == confirmed


def test_the_bounds_hold_all_but_a_hundredth_of_the_real_pictures_at_either_end() -> None:
    looks = [replace(_LOOK, brightness=index / 100) for index in range(101)]
    bounds = bounds_of(looks, [index / 100 for index in range(101)])
    assert bounds.brightness == pytest.approx((0.01, 0.99))
    assert bounds.alignment == pytest.approx(0.01)


def test_a_signature_survives_noise_and_size_and_tells_pictures_apart() -> None:
    rng = np.random.default_rng(0)
    rough = Image.fromarray(rng.integers(0, 256, (8, 9, 3), np.uint8)).resize((256, 256), Image.Resampling.BICUBIC)
    noisy = Image.fromarray(
        np.clip(np.asarray(rough, np.int16) + rng.integers(-6, 7, (256, 256, 3)), 0, 255).astype(np.uint8)
    )
    other = Image.fromarray(rng.integers(0, 256, (8, 9, 3), np.uint8)).resize((256, 256), Image.Resampling.BICUBIC)
    same = (signature(rough) ^ signature(noisy.resize((120, 120)))).bit_count()
    assert same <= 3 < 16 < (signature(rough) ^ signature(other)).bit_count()


def test_what_a_picture_looks_like_does_not_hang_on_its_size() -> None:
    picture = Image.effect_noise((512, 512), 60).convert("RGB").resize((64, 64)).resize((512, 512))
    large, small = look_at(picture), look_at(picture.resize((256, 256), Image.Resampling.BOX))
    assert large.edges == pytest.approx(small.edges, rel=0.05)
    assert large.brightness == pytest.approx(small.brightness, abs=0.01)
