"""Small folders of made-up pictures and labels in exactly the layouts in which the data sets are published."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

EMOTIONS = ("amusement", "anger", "awe", "contentment", "disgust", "excitement", "fear", "sadness")


def picture(path: Path, seed: int = 0) -> None:
    """A small JPEG."""
    path.parent.mkdir(parents=True, exist_ok=True)
    color = tuple(np.random.default_rng(seed).integers(0, 256, 3).tolist())
    Image.new("RGB", (12, 8), color).save(path)


def emoset(folder: Path, *, per_split: int = 2, with_ids: bool = False) -> None:
    """`with_ids`: entries of four elements, as one of the published versions has them."""
    label2idx = {emotion: index for index, emotion in enumerate(EMOTIONS)}
    _json(folder / "info.json", {"emotion": {"label2idx": label2idx, "idx2label": {}}, "brightness": {}})
    number = 0
    for split in ("train", "val", "test"):
        entries = []
        for _ in range(per_split):
            emotion = EMOTIONS[number % len(EMOTIONS)]
            name = f"{emotion}/{emotion}_{number:05d}"
            image, annotation = f"image/{name}.jpg", f"annotation/{name}.json"
            picture(folder / image, number)
            _json(folder / annotation, {"image_id": name, "emotion": emotion, "brightness": 0.3, "object": ["Tree"]})
            entries.append([emotion, *([f"{emotion}_{number:05d}"] if with_ids else []), image, annotation])
            number += 1
        _json(folder / f"{split}.json", entries)


def emotic_mat(folder: Path, *, arousal: float = 4.0) -> None:
    """Two train pictures, the first with two people, and one of val and test each, seen by two annotators.

    Args:
        arousal: of the first person.
    """
    from scipy.io import savemat

    first = _person(_categories("Happiness", "Excitement"), _ratings(8, arousal, 10))
    second = _person(_categories("Sadness"), _ratings(1, 10, 1))
    seen_by_two = {
        "body_bbox": [1, 2, 30, 40],
        "annotations_categories": _structs([_categories("Peace", "Happiness"), _categories("Peace")]),
        "combined_categories": _cells("Peace", "Happiness"),
        "annotations_continuous": _structs([_ratings(8, 3, 7), _ratings(4, 3, 7)]),
        "combined_continuous": _ratings(6, 3, 7),
        "gender": "Male",
        "age": "Kid",
    }
    splits = {
        "train": _structs([_photograph("a.jpg", [first, second]), _photograph("b.jpg", [second])]),
        "val": _structs([_photograph("c.jpg", [seen_by_two])]),
        "test": _structs([_photograph("d.jpg", [seen_by_two])]),
    }
    (folder / "Annotations").mkdir(parents=True)
    savemat(folder / "Annotations" / "Annotations.mat", splits)
    for seed, name in enumerate("abcd"):
        picture(folder / "emotic" / "mscoco" / "images" / f"{name}.jpg", seed)


def emotic_csv(folder: Path) -> None:
    header = ["Index", "Folder", "Filename", "Image Size", "BBox", "Categorical_Labels", "Continuous_Labels", "Gender"]
    for split in ("train", "val", "test"):
        labels = ["Doubt/Confusion", "Fear"], [1.0, 5.5, 10.0]
        row = [0, "emodb_small/images", f"{split}.jpg", [640, 480], [1, 2, 30, 40], *labels, "Female"]
        table(folder / "emotic_pre" / f"{split}.csv", header, [row])
        picture(folder / "emotic" / "emodb_small" / "images" / f"{split}.jpg")


def oasis(folder: Path) -> None:
    header = ["", "Theme", "Category", "Source", "Valence_mean", "Valence_SD", "Arousal_mean", "Arousal_SD"]
    rows = [
        ["I1", "Acorns 1", "Object", "Pixabay", 4.0, 1.1, 1.0, 1.2],
        ["I2", "Dog 4", "Animal", "Flickr", 7.0, 1, 5.5, 1],
    ]
    table(folder / "OASIS.csv", header, rows)
    for row in rows:
        picture(folder / "images" / f"{row[1]}.jpg")


def emotion6(folder: Path) -> None:
    names = ("anger", "disgust", "fear", "joy", "sadness", "surprise", "neutral")
    header = ["[image_filename]", "[valence]", "[arousal]", *(f"[prob. {name}]" for name in names)]
    rows = [
        ["disgust/1.jpg", 2.5, 3.8, 0.133333, 0.7, 0, 0.0666667, 0.1, 0, 0],
        ["joy/7.jpg", 9, 1, 0, 0, 0, 0.8, 0, 0.2, 0],
    ]
    table(folder / "ground_truth.txt", header, rows, delimiter="\t")
    for row in rows:
        picture(folder / "images" / str(row[0]))


def abstract8(folder: Path) -> None:
    header = "'','Amusement','Anger','Awe','Content','Disgust','Excitement','Fear','Sad'"
    rows = ["'abstract_0001.jpg',1,0,2,9,0,0,0,0", "'abstract_0003.jpg',4,4,0,0,0,0,0,1"]
    write(folder / "ABSTRACT_groundTruth.csv", "\n".join([header, *rows]) + "\n")
    for name in ("abstract_0001", "abstract_0003"):
        picture(folder / f"{name}.jpg")


def artphoto(folder: Path) -> None:
    for seed, name in enumerate(("amusement_0001", "content_0034", "sad_0002"), start=1):
        picture(folder / f"{name}.jpg", seed)


def findingemo(folder: Path) -> None:
    header = ["index", "user", "image_path", "reject", "tag", "age", "valence", "arousal", "emotion", "dec_factors"]
    rows = [
        [0, "u1", "/Run_2/Sad Crowd/1.jpg", "Keep", "", "Adult", -3, 6, "Fear", "Body language"],
        [1, "u2", "/Run_1/Party/2.jpg", "Keep", "", "Adult", 3, 0, "Ecstasy", "Facial expression"],
    ]
    table(folder / "annotations_single.ann", header, rows)
    for row in rows:
        picture(folder / str(row[2]).lstrip("/"))


def emoticrafter(folder: Path) -> None:
    header = ["Neutral_Prompt", "Emotional_Prompt", "Arousal", "Valence"]
    rows = [
        ["a street, at night", 'a street of "gold",\nlit for a feast', 1.5, 3.0],
        ["a hut", "a burnt hut", -3.0, -1.5],
    ]
    table(folder / "prompts.csv", header, rows)


def eemo_bench(folder: Path, *, pictures: bool = True) -> None:
    entries: list[dict[str, Any]] = [
        {
            "image_name": f"{number}.jpg",
            "category": "Animal",
            "emotion_list": [["joy", 39], ["neutral", 37], [third, 33]],
            "Valence": [6.0, 0.8, 1.0],
            "Arousal": [4.25, 1.1, 1.7],
            "Dominance": [6.5, 0.6, 1.4],
            "judge_Q": "Is surprise one of the three main emotions?",
        }
        for number, third in ((1, "surprise"), (2, "fear"))
    ]
    _json(folder / "eemo_bench_single.json", entries)
    if pictures:
        for entry in entries:
            picture(folder / "images" / entry["image_name"])


def artemis(folder: Path) -> None:
    """Two paintings: the first of three annotators, two of them alike; the second of two who differ."""
    header = ["art_style", "painting", "emotion", "utterance", "repetition"]
    rows = [
        ["Realism", "a-painter_a-field", "awe", "So wide, and so still", 3],
        ["Cubism", "b-painter_a-mask", "fear", "It stares", 2],
        ["Realism", "a-painter_a-field", "something else", "I want to walk there", 3],
        ["Realism", "a-painter_a-field", "awe", "The light, as before rain", 3],
        ["Cubism", "b-painter_a-mask", "amusement", "It looks like my uncle", 2],
    ]
    table(folder / "artemis_dataset_release_v0.csv", header, rows)
    for style, name in (("Realism", "a-painter_a-field"), ("Cubism", "b-painter_a-mask")):
        picture(folder / "wikiart" / style / f"{name}.jpg")


def artemis_subset(folder: Path) -> None:
    """The form in which EEmo-Logic is measured."""
    entry = {
        "img_path": ".\\00000.jpg",
        "art_style": "Realism",
        "painting": "a-painter_a-field",
        "emotion": ["awe", "awe", "sadness"],
        "utterance": ["wide", "still", "empty"],
        "dominant_emotion": "awe",
    }
    _json(folder / "test_ArtEmis.json", [entry])
    picture(folder / "wikiart" / "Realism" / "a-painter_a-field.jpg")


def uniaa(folder: Path, *, name: str = "UNIAA_QA.json") -> None:
    entries = [
        {
            "img_path": "emotion_images/1.jpg",
            "question": "What mood does it convey?",
            "candidates": ["It is calm.", "It is wild.", "It is dull."],
            "correct_ans": "It is wild.",
            "dimension": "sentiment",
            "category": "vitality",
            "type": "what",
        },
        {
            "img_path": "emotion_images/1.jpg",
            "question": "Is it pleasant?",
            "candidates": ["No", "Yes"],
            "correct_ans": "Yes",
            "dimension": "sentiment",
            "category": "positive",
            "type": "yes_no",
        },
    ]
    _json(folder / name, entries)
    picture(folder / "emotion_images" / "1.jpg")


def aesbench(folder: Path, *, answer: str = "") -> None:
    felt = {"Question": "What does it evoke?", "Options": "A) Calm.\nB)Unrest, and some fear.\nC) Nothing"}
    entry = {
        "AesP_data": {"Question": "What stands out?", "Options": "A) The colors\nB) The light"},
        "AesE_data": {**felt, **({"Answer": answer} if answer else {})},
        "AesI_data": {"Question": "Explain its quality."},
    }
    _json(folder / "AesBench_evaluation.json", {"one.jpg": entry, "two.jpg": {"AesE_data": felt}})
    for seed, name in enumerate(("one", "two")):
        picture(folder / "images" / f"{name}.jpg", seed)


def vecbench(folder: Path) -> None:
    lines = [
        _vecbench_line("FI-2", "Positive", ["positive", "negative"], "FI/1.jpg"),
        _vecbench_line("FI-8", "awe", EMOTIONS, "FI/1.jpg"),
        _vecbench_line(
            "WebEmo-7", "joy", ["anger", "confusion", "fear", "joy", "love", "sadness", "surprise"], "W/2.jpg"
        ),
    ]
    write(folder / "test_8k.jsonl", "".join(f"{json.dumps(line)}\n" for line in lines))
    for name in ("FI/1", "W/2"):
        picture(folder / f"{name}.jpg")


def _vecbench_line(task: str, truth: str, candidates: Sequence[str], image: str) -> dict[str, Any]:
    asked = [{"type": "image", "image": image}, {"type": "text", "text": "Which one?"}]
    conversations = [{"role": "user", "content": asked}]
    return {"task": task, "ground_truth": truth, "candidates": list(candidates), "conversations": conversations}


LAYOUTS: Mapping[str, Callable[[Path], None]] = {
    "emoset": emoset,
    "emotic": emotic_mat,
    "oasis": oasis,
    "emotion6": emotion6,
    "abstract8": abstract8,
    "artphoto": artphoto,
    "findingemo": findingemo,
    "emoticrafter": emoticrafter,
    "artemis": artemis,
    "eemo-bench": eemo_bench,
    "vecbench": vecbench,
    "uniaa": uniaa,
    "aesbench": aesbench,
}
"""By the name of the data set."""


def table(path: Path, header: Sequence[str], rows: Sequence[Sequence[Any]], *, delimiter: str = ",") -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file, delimiter=delimiter).writerows([header, *rows])


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


def replaced(path: Path, old: str, new: str) -> None:
    """Spoils a file: the first `old` in it becomes `new`."""
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new, 1), encoding="utf-8")


def _json(path: Path, content: Any) -> None:
    write(path, json.dumps(content))


# MATLAB's structure arrays and cell arrays, as savemat takes them.


def _structs(entries: Sequence[Mapping[str, Any]]) -> Any:
    array = np.empty((1, len(entries)), dtype=[(key, object) for key in entries[0]])
    for index, entry in enumerate(entries):
        for key, value in entry.items():
            array[0, index][key] = value
    return array


def _cells(*texts: str) -> Any:
    array = np.empty((1, len(texts)), dtype=object)
    array[0, :] = texts
    return array


def _categories(*names: str) -> dict[str, Any]:
    return {"categories": _cells(*names)}


def _ratings(valence: float, arousal: float, dominance: float) -> dict[str, float]:
    return {"valence": valence, "arousal": arousal, "dominance": dominance}


def _person(categories: Mapping[str, Any], ratings: Mapping[str, float]) -> dict[str, Any]:
    person = {"body_bbox": [1, 2, 30, 40], "annotations_categories": categories, "annotations_continuous": ratings}
    return {**person, "gender": "Female", "age": "Adult"}


def _photograph(name: str, people: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    size = {"n_col": 640, "n_row": 480}
    return {"filename": name, "folder": "mscoco/images", "image_size": size, "person": _structs(people)}
