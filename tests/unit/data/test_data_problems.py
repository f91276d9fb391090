"""What is wrong with a published data set, by file, row and column: refused, or skipped and counted."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from emofeedback.domain.errors import InvalidRequest
from emofeedback_trainer.data.reading import read
from emofeedback_trainer.data.records import BadRow
from support import published_layouts as layouts
from support.published_layouts import replaced, write


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
