"""Published data sets on the one record: ratings on 1-9, categories, rankings, in the forms that they come in."""

from __future__ import annotations

from pathlib import Path

import pytest

from emofeedback.domain.affect import Emotion
from emofeedback_trainer.data.reading import LAYOUTS, read
from emofeedback_trainer.data.records import RankedEmotion, Sample
from emofeedback_trainer.data.rows import to_scale
from support import published_layouts as layouts
from support.published_layouts import write


def ranked(**weights: float) -> tuple[RankedEmotion, ...]:
    return tuple(RankedEmotion(label=label, weight=weight) for label, weight in weights.items())


def samples(name: str, folder: Path) -> dict[str, Sample]:
    return {sample.id: sample for sample in read(name, folder).samples}


def test_every_data_set_has_a_layout_to_test() -> None:
    assert set(layouts.LAYOUTS) == set(LAYOUTS)


@pytest.mark.parametrize("name", layouts.LAYOUTS)
def test_every_sample_names_its_source_and_license_and_has_a_picture_or_prompts(name: str, tmp_path: Path) -> None:
    layouts.LAYOUTS[name](tmp_path)
    reading = read(name, tmp_path)
    assert reading.samples and not reading.skipped
    for sample in reading.samples:
        assert sample.source == name and sample.license
        assert (isinstance(sample.image, Path) and sample.image.is_file()) or sample.neutral_prompt
    assert reading == read(name, tmp_path)


@pytest.mark.parametrize("with_ids", [False, True])
def test_emoset_has_emotions_and_splits_and_no_ratings(with_ids: bool, tmp_path: Path) -> None:
    layouts.emoset(tmp_path, per_split=3, with_ids=with_ids)
    found = samples("emoset", tmp_path)
    assert [sample.split for sample in found.values()] == ["train"] * 3 + ["val"] * 3 + ["test"] * 3
    anger = found["anger_00001"]
    assert (anger.emotion, anger.label, anger.valence) == (Emotion.ANGER, "anger", None)
    assert anger.image == tmp_path / "image" / "anger" / "anger_00001.jpg"


def test_emotic_makes_a_sample_of_each_person(tmp_path: Path) -> None:
    layouts.emotic_mat(tmp_path)
    found = samples("emotic", tmp_path)
    assert list(found) == [
        "train/mscoco/images/a.jpg#0",
        "train/mscoco/images/a.jpg#1",
        "train/mscoco/images/b.jpg#0",
        "val/mscoco/images/c.jpg#0",
        "test/mscoco/images/d.jpg#0",
    ]
    first, second = list(found.values())[:2]
    assert (first.label, first.emotion, first.votes) == (
        "Happiness",
        Emotion.EXCITEMENT,
        (("Happiness", "Excitement"),),
    )
    assert first.valence == pytest.approx(1 + 7 * 8 / 9) and first.dominance == 9
    assert (second.emotion, second.valence, second.arousal, second.dominance) == (Emotion.SADNESS, 1, 9, 1)


def test_emotic_takes_what_annotators_agreed_on_and_keeps_each_ones_vote(tmp_path: Path) -> None:
    layouts.emotic_mat(tmp_path)
    seen_by_two = samples("emotic", tmp_path)["val/mscoco/images/c.jpg#0"]
    assert seen_by_two.votes == (("Peace", "Happiness"), ("Peace",))
    assert seen_by_two.valence == pytest.approx(to_scale(6, 1, 10))  # the mean of 8 and 4


def test_emotic_is_read_from_its_csv_files_where_there_is_no_mat(tmp_path: Path) -> None:
    layouts.emotic_csv(tmp_path)
    sample = samples("emotic", tmp_path)["train/emodb_small/images/train.jpg#0"]
    assert (sample.label, sample.emotion, sample.valence, sample.dominance) == ("Doubt/Confusion", Emotion.FEAR, 1, 9)
    assert sample.arousal == pytest.approx(5)


def test_oasis_is_brought_from_seven_steps_to_nine(tmp_path: Path) -> None:
    layouts.oasis(tmp_path)
    found = samples("oasis", tmp_path)
    assert (found["Acorns 1"].valence, found["Acorns 1"].arousal) == (5, 1)
    assert (found["Dog 4"].valence, found["Dog 4"].arousal, found["Dog 4"].label) == (9, 7, "Animal")


def test_emotion6_ranks_what_was_felt(tmp_path: Path) -> None:
    layouts.emotion6(tmp_path)
    found = samples("emotion6", tmp_path)
    disgust = found["disgust/1.jpg"]
    assert (disgust.valence, disgust.arousal, disgust.emotion) == (2.5, 3.8, Emotion.DISGUST)
    assert disgust.ranking == ranked(disgust=0.7, anger=0.133333, sadness=0.1, joy=0.0666667)
    joy = found["joy/7.jpg"]
    assert (joy.label, joy.emotion) == ("joy", None)  # none of Mikels' eight


def test_an_abstract_painting_with_two_leading_emotions_has_none(tmp_path: Path) -> None:
    layouts.abstract8(tmp_path)
    found = samples("abstract8", tmp_path)
    clear, tied = found["abstract_0001.jpg"], found["abstract_0003.jpg"]
    assert (clear.emotion, clear.ranking) == (Emotion.CONTENTMENT, ranked(contentment=9, awe=2, amusement=1))
    assert (tied.emotion, tied.label, tied.ranking[0].weight) == (None, "", 4)


def test_an_art_photo_is_named_after_its_emotion(tmp_path: Path) -> None:
    layouts.artphoto(tmp_path)
    emotions = [sample.emotion for sample in samples("artphoto", tmp_path).values()]
    assert emotions == [Emotion.AMUSEMENT, Emotion.CONTENTMENT, Emotion.SADNESS]


def test_findingemo_has_two_scales(tmp_path: Path) -> None:
    layouts.findingemo(tmp_path)
    found = samples("findingemo", tmp_path)
    assert (found["0"].valence, found["0"].arousal, found["0"].emotion) == (1, 9, Emotion.FEAR)
    assert (found["1"].valence, found["1"].arousal, found["1"].label) == (9, 1, "Ecstasy")


def test_emoticrafter_is_prompts_without_pictures(tmp_path: Path) -> None:
    layouts.emoticrafter(tmp_path)
    feast, hut = read("emoticrafter", tmp_path).samples
    assert (feast.neutral_prompt, feast.valence, feast.arousal) == ("a street, at night", 9, 7)
    assert feast.emotional_prompt == 'a street of "gold",\nlit for a feast' and feast.image is None
    assert (hut.valence, hut.arousal) == (3, 1)


@pytest.mark.parametrize("pictures", [True, False])
def test_eemo_bench_can_be_read_without_its_pictures(pictures: bool, tmp_path: Path) -> None:
    layouts.eemo_bench(tmp_path, pictures=pictures)
    sample = samples("eemo-bench", tmp_path)["1.jpg"]
    assert (sample.image is not None) is pictures
    assert sample.ranking == ranked(joy=39, neutral=37, surprise=33)
    assert (sample.valence, sample.arousal, sample.dominance, sample.split) == (6, 4.25, 6.5, "test")


def test_artemis_gathers_what_was_felt_before_a_painting(tmp_path: Path) -> None:
    layouts.artemis(tmp_path)
    found = samples("artemis", tmp_path)
    field, mask = found["Realism/a-painter_a-field"], found["Cubism/b-painter_a-mask"]
    assert (field.emotion, field.label) == (Emotion.AWE, "awe")
    assert field.ranking == (RankedEmotion(label="awe", weight=2), RankedEmotion(label="something else", weight=1))
    assert field.votes == (("awe",), ("something else",), ("awe",)) and field.comments[1] == "I want to walk there"
    assert mask.emotion is None and mask.label == ""


def test_artemis_is_read_in_the_form_that_eemo_logic_is_measured_on(tmp_path: Path) -> None:
    layouts.artemis_subset(tmp_path)
    (sample,) = samples("artemis", tmp_path).values()
    assert (sample.emotion, sample.split, len(sample.votes)) == (Emotion.AWE, "test", 3)


@pytest.mark.parametrize("name", ["UNIAA_QA.json", "test_UNIAA_Sent.json"])
def test_uniaa_is_a_question_a_sample(name: str, tmp_path: Path) -> None:
    layouts.uniaa(tmp_path, name=name)
    first, second = samples("uniaa", tmp_path).values()
    assert first.image == second.image
    (asked,) = first.questions
    assert (asked.topic, asked.options[1], asked.answer) == ("sentiment", "It is wild.", "It is wild.")
    assert (first.label, second.label) == ("vitality", "positive")


@pytest.mark.parametrize(("letter", "answer"), [("", ""), ("B", "Unrest, and some fear."), ("C) Nothing", "Nothing")])
def test_aesbench_asks_several_things_of_a_picture_and_may_keep_the_answers(
    letter: str, answer: str, tmp_path: Path
) -> None:
    layouts.aesbench(tmp_path, answer=letter)
    found = samples("aesbench", tmp_path)
    assert [question.topic for question in found["one.jpg"].questions] == ["AesP", "AesE"]
    felt = found["one.jpg"].questions[1]
    assert felt.options == ("Calm.", "Unrest, and some fear.", "Nothing") and felt.answer == answer
    assert found["two.jpg"].questions[0].answer == ""


def test_vecbench_is_one_sample_a_picture_and_task_under_the_terms_of_its_set(tmp_path: Path) -> None:
    layouts.vecbench(tmp_path)
    polarity, eight, seven = samples("vecbench", tmp_path).values()
    assert polarity.image == eight.image and polarity.license == eight.license != seven.license
    assert [(one.emotion, one.label) for one in (polarity, eight, seven)] == [
        (None, "positive"),
        (Emotion.AWE, "awe"),
        (None, "joy"),
    ]
    assert [(one.questions[0].topic, len(one.questions[0].options)) for one in (polarity, eight, seven)] == [
        ("FI-2", 2),
        ("FI-8", 8),
        ("WebEmo-7", 7),
    ]


def test_pictures_may_lie_on_another_disk(tmp_path: Path) -> None:
    layouts.oasis(tmp_path / "oasis")
    (tmp_path / "oasis" / "images").rename(tmp_path / "disk")
    (tmp_path / "oasis" / "images").symlink_to(tmp_path / "disk")
    assert len(read("oasis", tmp_path / "oasis").samples) == 2


def test_emoset_is_read_as_it_was_first_published(tmp_path: Path) -> None:
    layouts.emoset(tmp_path)
    write(tmp_path / "info.json", '{"label2idx": {"amusement": 0}, "idx2label": {"0": "amusement"}}')
    assert len(samples("emoset", tmp_path)) == 6


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
@pytest.mark.parametrize("name", sorted(set(layouts.LAYOUTS) - {"emotic", "artphoto"}))
def test_byte_order_marks_change_nothing(name: str, encoding: str, tmp_path: Path) -> None:
    layouts.LAYOUTS[name](tmp_path)
    plain = read(name, tmp_path)
    for path in tmp_path.rglob("*"):
        if path.suffix in (".json", ".jsonl", ".csv", ".txt", ".ann"):
            path.write_bytes(path.read_bytes().decode().encode(encoding))
    assert read(name, tmp_path) == plain


@pytest.mark.parametrize("name", ["artphoto", "emoticrafter", "eemo-bench"])
def test_what_a_mac_leaves_beside_files_is_no_part_of_a_data_set(name: str, tmp_path: Path) -> None:
    layouts.LAYOUTS[name](tmp_path)
    plain = read(name, tmp_path)
    for path in list(tmp_path.iterdir()):
        if path.is_file():
            (tmp_path / f"._{path.name}").write_bytes(b"\x00\x05\x16\x07\x00")
    assert read(name, tmp_path) == plain


def test_pictures_count_under_every_ending_that_cameras_write(tmp_path: Path) -> None:
    for name in ("amusement_0001.jpg", "fear_0002.JPG", "sad_0003.jpeg", "awe_0004.PNG", "anger_0005.WebP"):
        layouts.picture(tmp_path / name)
    assert len(samples("artphoto", tmp_path)) == 5
