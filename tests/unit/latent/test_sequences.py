import numpy as np

from emofeedback_trainer.latent.sequences import UNLABELED, Branch, Scored, Sequences, batch_of, visibility

REASONS = 2
ROW = Sequences(
    trunk=(10, 11, 12),
    groups=((20, 1, 2), (21, 1, 2)),
    branches=(
        Branch(opening=(30,), reply=(31, 32), group=0),
        Branch(opening=(30,), reply=(33, 34), group=1, hidden=True),
    ),
)
TRUNK, FIRST, SECOND, OPEN, HIDDEN = slice(0, 3), slice(3, 6), slice(6, 9), slice(9, 12), slice(12, 15)


def test_a_variation_sees_the_question_and_no_other_variation() -> None:
    sees = visibility(ROW, REASONS)
    assert sees[SECOND, TRUNK].all()
    assert not sees[SECOND, FIRST].any()
    assert not sees[FIRST, SECOND].any()
    assert not sees[TRUNK, 3:].any()


def test_a_reply_sees_its_own_variation_and_no_other_reply() -> None:
    sees = visibility(ROW, REASONS)
    assert sees[OPEN, TRUNK].all()
    assert sees[OPEN, FIRST].all()
    assert not sees[OPEN, SECOND].any()
    assert not sees[HIDDEN, OPEN].any()


def test_a_hidden_reply_sees_nothing_but_the_reasoning_tokens_of_its_variation() -> None:
    seen_by_its_last = visibility(ROW, REASONS)[14]
    assert np.flatnonzero(seen_by_its_last).tolist() == [7, 8, 12, 13, 14]


def test_nothing_sees_what_comes_after_it() -> None:
    assert not np.triu(visibility(ROW, REASONS), 1).any()


def test_labels_stand_where_the_token_before_them_is_read() -> None:
    branch = Branch(opening=(30,), reply=(5, 9, 7, 8), neighbors={0: (6, 0.25)}, scored=(0, 2, 3), held=True)
    batch = batch_of([ROW, Sequences(trunk=(10,), branches=(branch,))], REASONS, pad=0)
    assert batch.labels[0].tolist() == [*[UNLABELED] * 9, 31, 32, UNLABELED, 33, 34, UNLABELED]
    assert batch.labels[1, :6].tolist() == [UNLABELED, 5, 9, 7, 8, UNLABELED]
    assert (batch.neighbors[1, 1].item(), batch.shares[1, 1].item()) == (6, 0.25)
    assert batch.scored[1, 1:5].tolist() == [Scored.VALENCE, 0, Scored.AROUSAL, Scored.EMOTION]
    assert batch.held[1, :6].tolist() == [False, True, True, True, True, False]
    assert batch.count == 3
    assert batch.replies[batch.labels != UNLABELED].tolist() == [0, 0, 1, 1, 2, 2, 2, 2]


def test_every_place_sees_something_where_a_row_is_filled_up() -> None:
    short = Sequences(trunk=(10,), branches=(Branch(opening=(30,), reply=(31,)),))
    batch = batch_of([ROW, short], REASONS, pad=0)
    assert batch.visible.any(dim=2).all()
    assert not batch.visible[1, :3, 3:].any()
