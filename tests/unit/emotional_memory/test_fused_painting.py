"""What the way back from understanding to painting is prepared with."""

from dataclasses import replace
from pathlib import Path

import pytest

from emofeedback.domain.errors import EmoFeedbackError, InvalidRequest
from emofeedback.generator.policy_store import PolicyStore
from emofeedback.profiles.builtin import NANO_PROFILE
from emofeedback.profiles.overrides import load_profile, to_toml
from emofeedback_trainer.emotional_memory.fused_painting import with_own_store


def test_a_store_of_its_own_holds_the_named_policies_as_they_were_and_the_profile_can_be_read_from_a_file(
    tmp_path: Path,
) -> None:
    profile = with_own_store(NANO_PROFILE, ("nano-final", "base"), tmp_path / "policies")
    store, released = PolicyStore(profile.generator.policies), PolicyStore(NANO_PROFILE.generator.policies)
    assert store.names() == ["nano-final", "nano-fused"]
    assert store.fetch("nano-final", tmp_path / "weights") == released.manifest("nano-final")
    assert with_own_store(NANO_PROFILE, ("nano-final",), tmp_path / "policies") == profile
    (tmp_path / "own.toml").write_text(to_toml(profile))
    assert load_profile(str(tmp_path / "own.toml")).generator == profile.generator


def test_an_unknown_policy_or_a_profile_without_a_store_is_refused(tmp_path: Path) -> None:
    bare = replace(NANO_PROFILE, generator=replace(NANO_PROFILE.generator, policies="", policy=""))
    with pytest.raises(InvalidRequest, match="has no store of policies"):
        with_own_store(bare, (), tmp_path)
    with pytest.raises(EmoFeedbackError, match="nobody"):
        with_own_store(NANO_PROFILE, ("nobody",), tmp_path / "policies")
    assert not (tmp_path / "policies" / "nobody").exists()
