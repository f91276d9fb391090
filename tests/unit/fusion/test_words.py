"""What the words that a prompt lacks teach a connector."""

from pathlib import Path

import torch

from emofeedback.domain.affect import AffectPoint
from emofeedback.generator.connector import EmotionConnector
from emofeedback.generator.pipeline import load_models
from emofeedback_trainer.distillation.teacher import HELD_OUT
from emofeedback_trainer.fusion.config import FusionConfig
from emofeedback_trainer.fusion.lessons import Lesson
from emofeedback_trainer.fusion.states import States
from emofeedback_trainer.fusion.turns import Curriculum
from emofeedback_trainer.fusion.words import added_places, learn_words
from support.tiny_checkpoints import CLIP_WIDTH, save_tiny_sd3, tiny_sd3_settings

_FIRST = 5
"""Place of a mood's first letter: behind the start and the letters of "a dog"."""


def test_added_tokens_come_in_order_and_the_commonest_are_left_out() -> None:
    rare = {1: 1, 5: 9, 6: 1, 7: 2, 8: 3}
    assert added_places([1, 2], [1, 5, 8, 2, 6, 7, 4], rare, 3) == [2, 4, 5]
    assert added_places([1, 2], [1, 5, 8, 2, 6, 7, 4], rare, 9) == [1, 2, 4, 5]
    assert added_places([1, 2], [2, 1, 4], rare, 3) == []


def test_a_connector_learns_to_say_what_a_prompt_lacks_and_stands_where_it_stopped(tmp_path: Path) -> None:
    """Four moods, each of which adds a word of its own to the same prompt; one has numbers too, which are no words."""
    models = load_models(tiny_sd3_settings(save_tiny_sd3(tmp_path / "sd3", with_t5=False)))
    moods = ("kb", "vz", "xj", "qw")
    told = ("a dog kb", "a dog vz, valence 2, arousal 3", "a dog xj", "a dog qw")
    lessons = [Lesson(prompt="a dog", told=text, target=AffectPoint(5, 5), variations=(0,)) for text in told] * HELD_OUT
    imagined = torch.randn(4, 3, 8, generator=torch.Generator().manual_seed(0)).repeat(HELD_OUT, 1, 1)
    states = States(looked=imagined, imagined=imagined, variation=torch.zeros(len(lessons), dtype=torch.int64))
    config = FusionConfig(word_updates=150, learning_rate=1e-2)
    curriculum = Curriculum(lessons, states, config)

    def taught() -> EmotionConnector:
        torch.manual_seed(0)
        connector = EmotionConnector(
            tokens=3,
            judge_width=8,
            context_width=2 * CLIP_WIDTH,
            pooled_width=2 * CLIP_WIDTH,
            width=16,
            heads=2,
            layers=1,
        )
        learn_words(connector, None, models.prompts, lessons, curriculum, config, tmp_path / "words")
        return connector

    connector = taught()
    with torch.no_grad():
        rows, pooled = connector(imagined[:4])
    before = models.prompts.encode("a dog")
    for place, mood in enumerate(moods):
        encoded = models.prompts.encode(f"a dog {mood}")
        change = encoded.pooled - before.pooled
        assert (pooled[place] - change).norm() < 0.3 * change.norm()
        # A mood is two tokens, behind the opening one and the five of the prompt, which come again in the third row.
        wanted = encoded.tokens[[_FIRST, _FIRST + 1, _FIRST]]
        others = torch.stack([one for other, one in enumerate(rows) if other != place])
        assert (rows[place] - wanted).norm() < 0.5 * (others - wanted).flatten(1).norm(dim=1).min()
    again = taught()  # nothing is left to learn
    assert all(torch.equal(weight, again.state_dict()[name]) for name, weight in connector.state_dict().items())
