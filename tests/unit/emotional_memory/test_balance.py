"""Which entries stay in an emotional memory."""

from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from emofeedback.domain.affect import AffectPoint, Emotion
from emofeedback_trainer.emotional_memory.balance import (
    GENERATIONS,
    LARGEST_EMOTION,
    PER_CELL,
    cell,
    drawing_shares,
    novelty,
    reliability,
    surplus,
)
from emofeedback_trainer.emotional_memory.entries import Entry
from support.painted_entries import entry

_ratings = st.floats(1, 9)


def _entries(count: int, seed: int, **changes: object) -> list[Entry]:
    rng = np.random.default_rng(seed)
    return [
        entry(
            sha256=f"{index:064x}",
            label=AffectPoint(*rng.uniform(1, 9, 2)),
            witnessed=AffectPoint(*rng.uniform(1, 9, 2)),
            signature=int.from_bytes(rng.bytes(8), "big"),
            emotion=list(Emotion)[int(rng.integers(8))],
            generation=int(rng.integers(5)),
            **changes,
        )
        for index in range(count)
    ]


def test_the_scale_is_cut_into_eight_cells_a_side() -> None:
    assert [cell(AffectPoint(value, 1.0))[0] for value in (1.0, 1.99, 2.0, 5.0, 8.0, 9.0)] == [0, 0, 1, 4, 7, 7]


@settings(max_examples=30)
@given(st.integers(0, 400), st.integers(0, 10_000))
def test_no_cell_no_emotion_and_no_age_is_over_its_limit(count: int, seed: int) -> None:
    entries = _entries(count, seed)
    gone = surplus(entries)
    kept = [one for one in entries if one.sha256 not in gone]
    assert len(set(gone)) == len(gone) == count - len(kept)
    newest = max((one.generation for one in entries), default=0)
    assert all(newest - one.generation < GENERATIONS for one in kept)
    assert max(Counter(cell(one.label) for one in kept).values(), default=0) <= PER_CELL
    assert max(Counter(one.emotion for one in kept).values(), default=0) <= LARGEST_EMOTION


@settings(max_examples=30)
@given(st.integers(0, 10_000))
def test_what_stays_stays_whatever_order_it_came_in_and_when_asked_again(seed: int) -> None:
    entries = _entries(120, seed)
    gone = set(surplus(entries))
    assert set(surplus(entries[::-1])) == gone
    assert surplus([one for one in entries if one.sha256 not in gone]) == ()


def test_of_a_full_cell_the_least_confirmed_the_most_alike_and_the_oldest_go() -> None:
    full = [entry(sha256=f"{index:064x}", signature=0xFFFF << index) for index in range(PER_CELL - 1)]
    unconfirmed = entry(sha256="a" * 64, witnessed=AffectPoint(8.0, 6.0), signature=(1 << 64) - 1)
    alike = entry(sha256="b" * 64, signature=0xFFFF << 3)
    assert surplus([*full, alike]) == ()
    gone = surplus([*full, alike, unconfirmed])
    assert len(gone) == 1 and gone[0] in (alike.sha256, full[3].sha256)
    far = [
        entry(sha256=f"{index:064x}", signature=int.from_bytes(np.random.default_rng(index).bytes(8), "big"))
        for index in range(PER_CELL)
    ]
    spread = entry(sha256="c" * 64, witnessed=AffectPoint(8.5, 6.5), signature=(1 << 63) | 0x5555)
    assert surplus([*far, spread]) == (spread.sha256,)


def test_an_emotion_has_at_most_a_quarter_of_the_room() -> None:
    entries = [
        entry(
            sha256=f"{index:064x}",
            label=AffectPoint(1.5 + index % 8, 1.5 + index // 8 % 8),
            witnessed=AffectPoint(1.5 + index % 8, 1.5 + index // 8 % 8),
            signature=int.from_bytes(np.random.default_rng(index).bytes(8), "big"),
        )
        for index in range(LARGEST_EMOTION + 40)
    ]
    assert len(surplus(entries)) == 40


def test_reliability_is_one_where_the_witness_agrees_and_falls_with_its_distance() -> None:
    assert reliability(entry()) == 1.0
    assert reliability(entry(witnessed=AffectPoint(8.0, 6.0))) == pytest.approx(np.exp(-1))


def test_novelty_is_the_share_of_bits_that_differ_from_the_most_similar() -> None:
    assert novelty(0b1111, [0b0111, 0]) == 1 / 64
    assert novelty(0b1111, []) == 1.0


@given(st.lists(st.builds(AffectPoint, _ratings, _ratings), min_size=1, max_size=60))
def test_every_cell_that_has_entries_is_drawn_equally_often(labels: list[AffectPoint]) -> None:
    shares = drawing_shares(labels)
    cells = Counter[tuple[int, int]]()
    for label, share in zip(labels, shares, strict=True):
        cells[cell(label)] += share  # type: ignore[assignment]
    assert shares.sum() == pytest.approx(1)
    assert list(cells.values()) == pytest.approx([1 / len(cells)] * len(cells))
