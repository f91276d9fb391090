"""A card that is too small says which profile fits."""

import pytest
import torch

from emofeedback.domain.errors import FailedPrecondition
from emofeedback.profiles.builtin import PROFILES
from emofeedback.profiles.cards import require_card

GIB = 2**30


@pytest.mark.parametrize(
    ("free", "advice"),
    [
        (8, "the profile nano runs without a GPU"),
        (19.9, "the profile nano runs without a GPU"),
        (22, "the profile sd35-medium-24gb fits: generator and judge together need 22 GiB"),
        (60, "the profile sd35-medium fits: generator and judge together need 44 GiB"),
    ],
)
def test_too_little_memory_names_both_figures_and_what_fits(
    free: float, advice: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda: (int(free * GIB), 80 * GIB))
    require_card("cuda", free - 0.1, "judge.device")
    with pytest.raises(FailedPrecondition) as caught:
        require_card("cuda", 70, "judge.device")
    assert str(caught.value).endswith(f"needs 70 GiB of GPU memory, {free:.1f} of 80.0 GiB are free; {advice}")


def test_no_card_is_asked_for_where_the_profile_wants_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    require_card("cpu", 20.0, "judge.device")
    with pytest.raises(FailedPrecondition, match=r"^judge\.device is cuda and no CUDA device is here"):
        require_card("cuda", 0.0, "judge.device")


def test_the_whole_stack_of_the_small_profile_shares_one_card_of_24_gb() -> None:
    profile = PROFILES["sd35-medium-24gb"]
    assert profile.generator.minimum_gpu_memory_gib + profile.judge.minimum_gpu_memory_gib < 23
    assert profile.serving.generator.gpus + profile.serving.judge.gpus <= 1
    assert profile.judge.engine == "transformers"  # vLLM takes a card for itself
