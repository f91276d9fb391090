"""Published data sets on the one record: ratings on 1-9, categories, rankings; what is wrong, by file, row, column."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from emofeedback.domain.affect import Emotion
from emofeedback.domain.errors import InvalidRequest
from emofeedback_trainer.data.reading import LAYOUTS, read
from emofeedback_trainer.data.records import BadRow, RankedEmotion, Sample
from emofeedback_trainer.data.rows import to_scale
from support import published_layouts as layouts
from support.published_layouts import replaced, write


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


def rewritten(name: str, old: str, new: str) -> Callable[[Path], None]:
    return lambda folder: replaced(folder / name, old, new)


def removed(name: str) -> Callable[[Path], None]:
    return lambda folder: (folder / name).unlink()


def spoiled_mat(folder: Path) -> None:
    (folder / "Annotations" / "Annotations.mat").write_bytes(b"not MATLAB")


def emptied(folder: Path) -> None:
    for path in folder.iterdir():
        path.unlink()


UNUSABLE: dict[str, tuple[str, Callable[[Path], object], str]] = {
    "a missing file": ("oasis", removed("OASIS.csv"), r"OASIS\.csv: is missing in "),
    "a missing split": ("emoset", removed("val.json"), r"val\.json: is missing"),
    "an empty split": ("emoset", lambda folder: write(folder / "val.json", "[]"), "split val: holds no sample"),
    "a split of bad rows": (
        "emoset",
        lambda f: write(f / "val.json", "[[1]]"),
        "split val: holds no sample.*1 bad row",
    ),
    "an empty folder": (
        "artphoto",
        emptied,
        "folder: .* holds no sample",
    ),
    "no prompts": ("emoticrafter", removed("prompts.csv"), r"\*\.csv: is missing"),
    "a missing column": (
        "emotion6",
        rewritten("ground_truth.txt", "[arousal]", "[x]"),
        r"row 1 column \[arousal\]: is miss",
    ),
    "cut JSON": (
        "emoset",
        lambda folder: write(folder / "test.json", '[\n["awe",'),
        r"test\.json row 2 column 8: is no JSON",
    ),
    "JSON of another kind": ("eemo-bench", lambda f: write(f / "eemo_bench_single.json", "{}"), "must hold a list"),
    "another info.json": ("emoset", lambda folder: write(folder / "info.json", "{}"), "not EmoSet's layout"),
    "no MATLAB file": ("emotic", spoiled_mat, "no readable MATLAB file"),
    "neither MATLAB nor CSV": ("emotic", removed("Annotations/Annotations.mat"), "and so is emotic_pre/"),
    "neither form of ArtEmis": ("artemis", removed("artemis_dataset_release_v0.csv"), "and so is test_ArtEmis"),
    "neither form of UNIAA": ("uniaa", removed("UNIAA_QA.json"), "and so is test_UNIAA_Sent"),
    "no AesBench": ("aesbench", removed("AesBench_evaluation.json"), r"AesBench_evaluation\.json: is missing"),
    "no VECBench": ("vecbench", removed("test_8k.jsonl"), r"test_8k\.jsonl: is missing"),
    "another encoding": (
        "oasis",
        lambda f: (f / "OASIS.csv").write_bytes(b"\xff\xfe\x00"),
        r"OASIS\.csv row 1: is not UTF-8",
    ),
    "an open quote": ("oasis", rewritten("OASIS.csv", "Acorns 1", '"Acorns 1'), r"OASIS\.csv row \d+: can't be read"),
}


@pytest.mark.parametrize("case", UNUSABLE)
@pytest.mark.parametrize("skip_bad", [False, True])
def test_files_that_cannot_be_used_are_named_even_where_bad_rows_are_skipped(
    case: str, skip_bad: bool, tmp_path: Path
) -> None:
    name, spoil, said = UNUSABLE[case]
    layouts.LAYOUTS[name](tmp_path)
    spoil(tmp_path)
    if case == "a split of bad rows" and not skip_bad:
        said = r"val\.json row 1: is \[1\]"
    with pytest.raises(InvalidRequest, match=said):
        read(name, tmp_path, skip_bad=skip_bad)


BAD_ROWS: dict[str, tuple[str, Callable[[Path], Any], BadRow]] = {
    case: (name, spoil, BadRow(file=file, row=row, column=column, problem=problem))
    for case, name, spoil, file, row, column, problem in (
        (
            "a missing image",
            "oasis",
            removed("images/Dog 4.jpg"),
            "OASIS.csv",
            3,
            "Theme",
            "names 'images/Dog 4.jpg', and there is no such file",
        ),
        (
            "an image outside",
            "findingemo",
            rewritten("annotations_single.ann", "/Run_2/Sad Crowd", "/../.."),
            "annotations_single.ann",
            2,
            "image_path",
            "names '../../1.jpg', which lies outside the folder",
        ),
        (
            "a rating on another scale",
            "oasis",
            rewritten("OASIS.csv", "7.0", "8.5"),
            "OASIS.csv",
            3,
            "Valence_mean",
            "is 8.5, it must lie in [1, 7]",
        ),
        (
            "a rating that is NaN",
            "emotion6",
            rewritten("ground_truth.txt", "\t3.8", "\tNaN"),
            "ground_truth.txt",
            2,
            "[arousal]",
            "is NaN",
        ),
        (
            "a rating that is no number",
            "emoticrafter",
            rewritten("prompts.csv", "-1.5", "low"),
            "prompts.csv",
            4,
            "Valence",
            "is 'low', it must be a number",
        ),
        (
            "a rating that is not there",
            "findingemo",
            rewritten("annotations_single.ann", "-3,6", "-3,"),
            "annotations_single.ann",
            2,
            "arousal",
            "is empty",
        ),
        (
            "a row that is too long",
            "emoticrafter",
            rewritten("prompts.csv", "a burnt hut", "a burnt hut, alone"),
            "prompts.csv",
            4,
            "",
            "has more cells than the header has columns",
        ),
        (
            "an empty prompt",
            "emoticrafter",
            rewritten("prompts.csv", "a burnt hut", " "),
            "prompts.csv",
            4,
            "Emotional_Prompt",
            "is empty",
        ),
        (
            "probabilities of more than 1",
            "emotion6",
            rewritten("ground_truth.txt", "0.7", "0.9"),
            "ground_truth.txt",
            2,
            "[prob. anger] to [prob. neutral]",
            "sum to 1.2, it must be 1",
        ),
        (
            "nobody's vote",
            "abstract8",
            rewritten("ABSTRACT_groundTruth.csv", "4,4,0,0,0,0,0,1", "0,0,0,0,0,0,0,0"),
            "ABSTRACT_groundTruth.csv",
            3,
            "'Amusement' to 'Sad'",
            "are all 0, a painting has at least one vote",
        ),
        (
            "an id that was there before",
            "emoset",
            rewritten("train.json", "anger", "amusement"),
            "train.json",
            2,
            "annotation",
            "annotation/anger/anger_00001.json says 'anger', the list says 'amusement'",
        ),
        (
            "a ranking that isn't one",
            "eemo-bench",
            rewritten("eemo_bench_single.json", "39", "3"),
            "eemo_bench_single.json",
            1,
            "emotion_list",
            "must be in falling order of weight",
        ),
        (
            "a feeling of another taxonomy",
            "artemis",
            rewritten("artemis_dataset_release_v0.csv", "fear", "joy"),
            "artemis_dataset_release_v0.csv",
            3,
            "emotion",
            "is 'joy', it must be one of amusement, awe, contentment, excitement, anger, disgust, fear, sadness, "
            "something else",
        ),
        (
            "an answer that is no option",
            "uniaa",
            rewritten("UNIAA_QA.json", '"correct_ans": "Yes"', '"correct_ans": "Maybe"'),
            "UNIAA_QA.json",
            2,
            "correct_ans",
            "is 'Maybe', which is none of the candidates",
        ),
        (
            "options without letters",
            "aesbench",
            rewritten("AesBench_evaluation.json", "A) The colors", "The colors"),
            "AesBench_evaluation.json",
            1,
            "AesP_data.Options",
            "must be two options or more, 'A) ...' a line",
        ),
        (
            "a task that is none of the nine",
            "vecbench",
            rewritten("test_8k.jsonl", "FI-2", "FI-3"),
            "test_8k.jsonl",
            1,
            "task",
            "is 'FI-3', it must be one of Abstract-8, Artphoto-8, EmoSet-8, FI-2, FI-8, UnbiasedEmo-6, WebEmo-2, "
            "WebEmo-7, WebEmo-25",
        ),
        (
            "a picture under somebody else's root",
            "vecbench",
            rewritten("test_8k.jsonl", "W/2.jpg", "/data/W/2.jpg"),
            "test_8k.jsonl",
            3,
            "conversations",
            "names '/data/W/2.jpg', which lies outside the folder",
        ),
        (
            "a line that is no JSON",
            "vecbench",
            rewritten("test_8k.jsonl", '{"task": "FI-8"', '{"task" "FI-8"'),
            "test_8k.jsonl",
            2,
            "",
            "is no JSON: Expecting ':' delimiter: line 1 column 9 (char 8)",
        ),
        (
            "an unknown category",
            "artphoto",
            lambda folder: layouts.picture(folder / "love_0001.jpg"),
            "love_0001.jpg",
            0,
            "",
            "begins with 'love', it must begin with one of the eight emotions and an underscore",
        ),
    )
}


@pytest.mark.parametrize("case", BAD_ROWS)
def test_a_bad_row_is_refused_with_file_row_and_column_or_skipped_and_counted(case: str, tmp_path: Path) -> None:
    name, spoil, bad = BAD_ROWS[case]
    layouts.LAYOUTS[name](tmp_path / "spoiled")
    layouts.LAYOUTS[name](tmp_path / "whole")
    spoil(tmp_path / "spoiled")
    with pytest.raises(InvalidRequest) as refusal:
        read(name, tmp_path / "spoiled")
    assert str(refusal.value).startswith(str(bad)) and "--skip-bad" in str(refusal.value)
    reading = read(name, tmp_path / "spoiled", skip_bad=True)
    assert reading.skipped == (bad,)
    good = {sample.id for sample in read(name, tmp_path / "whole").samples}
    assert {sample.id for sample in reading.samples} <= good and len(reading.samples) >= len(good) - 1


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


@pytest.mark.parametrize("ending", [".bmp", ".GIF", ".Tiff", ".HEIC"])
def test_a_picture_that_nobody_can_look_at_is_counted_and_named(ending: str, tmp_path: Path) -> None:
    layouts.artphoto(tmp_path)
    (tmp_path / f"fear_0009{ending}").write_bytes(b"any")
    with pytest.raises(InvalidRequest, match=rf"fear_0009\{ending}: is not a PNG, JPEG or WebP image: convert it"):
        read("artphoto", tmp_path)
    reading = read("artphoto", tmp_path, skip_bad=True)
    assert len(reading.samples) == 3 and [bad.file for bad in reading.skipped] == [f"fear_0009{ending}"]


NAMES = ["a" * 5000 + ".jpg", "\ud800.jpg", "a\0.jpg", "../../etc/passwd", "/etc/passwd", ".", "", "C:\\a.jpg"]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("place", ["image", "annotation"])
def test_a_name_that_no_file_of_the_folder_has_is_one_bad_row(name: str, place: str, tmp_path: Path) -> None:
    layouts.emoset(tmp_path, per_split=3)
    entries = json.loads((tmp_path / "train.json").read_text())
    entries[1][1 if place == "image" else 2] = name
    write(tmp_path / "train.json", json.dumps(entries))
    reading = read("emoset", tmp_path, skip_bad=True)
    assert len(reading.samples) == 8 and [(bad.row, bad.column) for bad in reading.skipped] == [(2, place)]
    assert len(str(reading.skipped[0])) < 300


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(
    entry=st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=300) | st.just(10**400),
        lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
        max_leaves=6,
    ),
    place=st.sampled_from(["image_name", "emotion_list", "Valence", "Arousal"]),
)
def test_whatever_stands_in_an_entry_it_is_one_sample_or_one_bad_row(tmp_path: Path, entry: Any, place: str) -> None:
    layouts.eemo_bench(tmp_path)
    path = tmp_path / "eemo_bench_single.json"
    entries = json.loads(path.read_text())
    entries[1][place] = entry
    write(path, json.dumps(entries))
    reading = read("eemo-bench", tmp_path, skip_bad=True)
    assert len(reading.samples) + len(reading.skipped) == 2


def test_an_id_that_was_there_before_is_a_bad_row(tmp_path: Path) -> None:
    layouts.emoset(tmp_path)
    write(tmp_path / "test.json", (tmp_path / "train.json").read_text())
    with pytest.raises(InvalidRequest, match=r"test\.json row 1: has the id 'amusement_00000' of train\.json row 1"):
        read("emoset", tmp_path)


def test_a_person_without_a_rating_in_emotics_mat_is_named_by_picture_and_place(tmp_path: Path) -> None:
    layouts.emotic_mat(tmp_path, arousal=math.nan)
    place = r"Annotations/Annotations\.mat row 1 column train\.person\[0\]\.annotations_continuous\.arousal: is NaN"
    with pytest.raises(InvalidRequest, match=place):
        read("emotic", tmp_path)
    assert len(read("emotic", tmp_path, skip_bad=True).samples) == 4


def test_lists_in_emotics_csv_are_read_and_never_run(tmp_path: Path) -> None:
    layouts.emotic_csv(tmp_path)
    replaced(tmp_path / "emotic_pre" / "val.csv", "[1.0, 5.5, 10.0]", "__import__('os').getcwd()")
    with pytest.raises(InvalidRequest, match=r"val\.csv row 2 column Continuous_Labels: is .* it must be a list"):
        read("emotic", tmp_path)


@pytest.mark.parametrize(("name", "folder", "field"), [("fer2013", ".", "name"), ("oasis", "nowhere", "folder")])
def test_an_unknown_data_set_or_folder_is_refused(name: str, folder: str, field: str, tmp_path: Path) -> None:
    with pytest.raises(InvalidRequest) as refusal:
        read(name, tmp_path / folder)
    assert refusal.value.violations[0].field == field


@given(st.floats(0, 1), st.sampled_from([(1, 7), (1, 10), (-3, 3), (0, 6), (1, 9)]))
def test_a_place_on_one_scale_is_the_same_place_on_one_to_nine(share: float, scale: tuple[float, float]) -> None:
    low, high = scale
    assert to_scale(low + share * (high - low), low, high) == pytest.approx(1 + 8 * share)
    assert to_scale(low, low, high) == 1 and to_scale(high, low, high) == 9


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"id": ""}, "id is empty"),
        ({"valence": math.nan}, "valence is nan"),
        ({"dominance": 9.5}, r"dominance is 9\.5, it must lie in \[1, 9\]"),
        ({"ranking": ranked(joy=-1)}, r"ranking\[0\]\.weight is -1"),
    ],
)
def test_no_sample_has_a_label_off_the_scale(changes: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        Sample(**{"id": "1", "source": "oasis", "license": "free", **changes})
