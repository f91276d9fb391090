"""EEmoDB's labels and questions: synonyms, clusters, rankings, comments, and answers that guessing doesn't find."""

from __future__ import annotations

import io
import json
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from emofeedback.domain.errors import InvalidRequest
from emofeedback.domain.taxonomies import EKMAN
from emofeedback_trainer.cli import main
from emofeedback_trainer.data.eemodb.build import relabeled
from emofeedback_trainer.data.eemodb.clustering import ClusteringSettings, cluster_categories
from emofeedback_trainer.data.eemodb.labels import to_ekman, votes_to_ekman
from emofeedback_trainer.data.eemodb.questions import LETTERS, Question, level, questions
from emofeedback_trainer.data.eemodb.ranking import rank_emotions
from emofeedback_trainer.data.lexicon import read_lexicon
from emofeedback_trainer.data.readers.emotic import CATEGORIES
from emofeedback_trainer.data.records import RankedEmotion, Sample
from emofeedback_trainer.data.storage import read_split
from support import published_layouts as layouts

# --- labels --------------------------------------------------------------------------------------------------------


def test_synonyms_come_before_clusters_and_the_rest_is_dropped() -> None:
    clusters = {"Peace": "neutral", "Anger": "joy"}
    assert [to_ekman(word, clusters) for word in ("Anger", "Happiness", " sad ", "Peace", "Yearning")] == [
        "anger",
        "joy",
        "sadness",
        "neutral",
        None,
    ]


def test_votes_keep_each_persons_order_without_repetition() -> None:
    votes = [("Peace", "Happiness", "Pleasure"), ("Yearning",), ("Fear", "Sadness")]
    assert votes_to_ekman(votes, {"Peace": "neutral"}) == (("neutral", "joy"), ("fear", "sadness"))


# --- clustering ----------------------------------------------------------------------------------------------------


def test_the_regression_finds_where_categories_lie() -> None:
    truth = {
        "Anger": (2.5, 6.0, 5.0),
        "Peace": (6.8, 2.6, 6.2),
        "Pleasure": (8.0, 5.5, 7.0),
        "Yearning": (5.0, 9.0, 1.0),
    }
    rng = np.random.default_rng(0)
    names = list(truth)
    given_to = [[names[place]] for place in rng.integers(0, len(names), 400)]
    points = np.array([truth[name] for (name,) in given_to]) + rng.normal(0, 0.3, (400, 3))
    clustering = cluster_categories(given_to, points, ClusteringSettings(radius=1.5))
    for name, place in truth.items():
        assert clustering.clusters[name].point == pytest.approx(place, abs=0.15)
        assert clustering.clusters[name].spread < 0.1
    assert min(clustering.explained) > 0.9
    assert clustering.labels == {"Anger": "anger", "Peace": "neutral", "Pleasure": "joy"}  # yearning is far from all


def test_categories_that_come_together_are_told_apart() -> None:
    rng = np.random.default_rng(1)
    weights = {"Excitement": (1.5, 2.0, 0.5), "Fear": (-2.0, 1.5, -2.0), "Fatigue": (-0.5, -2.0, -1.0)}
    given_to = [[name for name in weights if rng.random() < 0.5] or ["Fatigue"] for _ in range(600)]
    points = np.array([np.sum([weights[name] for name in many], axis=0) + 5 for many in given_to])
    clustering = cluster_categories(given_to, points + rng.normal(0, 0.2, points.shape), ClusteringSettings())
    for name, weight in weights.items():
        assert clustering.clusters[name].point == pytest.approx(np.add(weight, 5), abs=0.15)


def test_too_few_people_are_refused() -> None:
    with pytest.raises(InvalidRequest, match="needs at least 10 people"):
        cluster_categories([["Fear"]] * 9, np.full((9, 3), 5.0), ClusteringSettings())


# --- ranking -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("votes", "order"),
    [
        ([("joy",), ("joy", "fear"), ("fear", "sadness", "joy")], ["joy", "fear", "sadness"]),  # by frequency
        ([("fear", "joy"), ("joy",), ("fear", "sadness")], ["joy", "fear", "sadness"]),  # joy's votes are less shared
        ([("fear", "joy"), ("fear", "joy")], ["fear", "joy"]),  # fear was named first
        ([("fear",), ("joy",)], []),  # nothing tells them apart
        ([("joy", "fear"), ("joy", "sadness"), ("joy", "anger"), ("joy",)], []),  # three compete for two places
        ([], []),
    ],
)
def test_emotions_rank_by_frequency_then_concentration_then_order(
    votes: list[tuple[str, ...]], order: list[str]
) -> None:
    assert [place.label for place in rank_emotions(votes)] == order


@given(st.lists(st.lists(st.sampled_from(EKMAN), unique=True, min_size=1).map(tuple), max_size=6), st.randoms())
def test_the_ranking_doesn_t_depend_on_who_is_counted_first(votes: list[tuple[str, ...]], shuffler: object) -> None:
    ranking = rank_emotions(votes)
    assert [place.weight for place in ranking] == sorted((place.weight for place in ranking), reverse=True)
    mixed = votes.copy()
    shuffler.shuffle(mixed)  # type: ignore[attr-defined]
    assert rank_emotions(mixed) == ranking


def test_a_samples_own_ranking_is_mapped_and_its_weights_summed() -> None:
    ranking = tuple(
        RankedEmotion(label=label, weight=weight)
        for label, weight in (("fear", 4.0), ("amusement", 3.0), ("contentment", 2.0), ("yearning", 9.0))
    )
    sample = relabeled(Sample(id="1", source="s", license="", ranking=ranking), {}, None)
    assert [(place.label, place.weight) for place in sample.ranking] == [("joy", 5.0), ("fear", 4.0)]
    assert (sample.id, sample.label) == ("s/1", "joy")


def test_comments_fill_only_what_nobody_rated(tmp_path: Path) -> None:
    path = tmp_path / "l.csv"
    path.write_text(",Word,V.Mean.Sum,V.SD.Sum,A.Mean.Sum,A.SD.Sum,D.Mean.Sum\n1,calm,7,1,2,1,6\n2,storm,3,1,8,1,4\n")
    lexicon = read_lexicon(path)
    said = Sample(id="1", source="s", license="", valence=2.0, comments=("Calm. Storm!",))
    filled = relabeled(said, {}, lexicon)
    assert (filled.valence, filled.arousal, filled.dominance) == (2.0, 5.0, 5.0)
    assert relabeled(said, {}, None).arousal is None


# --- questions -----------------------------------------------------------------------------------------------------


def labeled(count: int = 120) -> list[Sample]:
    rng = np.random.default_rng(2)
    made = []
    for number in range(count):
        first, second, third = rng.permutation(EKMAN)[:3].tolist()
        valence, arousal, dominance = rng.uniform(1, 9, 3)
        made.append(
            Sample(
                id=str(number),
                source="s",
                license="",
                valence=valence,
                arousal=arousal,
                dominance=dominance,
                label=first,
                ranking=tuple(
                    RankedEmotion(label=label, weight=weight)
                    for label, weight in zip((first, second, third), (3, 2, 1), strict=True)
                ),
            )
        )
    return made


@pytest.fixture(scope="module")
def asked() -> list[Question]:
    return questions(labeled(), seed=4)


def of(asked: list[Question], **fields: str) -> list[Question]:
    return [one for one in asked if all(getattr(one, name) == value for name, value in fields.items())]


def said(question: Question) -> str:
    return question.options[LETTERS.index(question.answer)]


def test_every_task_kind_and_dimension_is_asked(asked: list[Question]) -> None:
    closed = {(task, kind, dimension) for task in ("perception", "pair") for kind in ("Yes-or-No", "What/How")
              for dimension in ("emotion", "valence", "arousal", "dominance")}  # fmt: skip
    expected = closed | {("ranking", "Open", "emotion"), ("description", "Open", "all")}
    assert {(one.task, one.kind, one.dimension) for one in asked} == expected
    assert len({one.id for one in asked}) == len(asked)
    assert all(len(one.images) == (2 if one.task == "pair" else 1) for one in asked)


def test_guessing_yes_or_a_letter_earns_nothing(asked: list[Question]) -> None:
    for task in ("perception", "pair"):
        for dimension in ("emotion", "valence", "arousal", "dominance"):
            yes_no = of(asked, task=task, kind="Yes-or-No", dimension=dimension)
            assert len(yes_no) > 20
            assert abs(Counter(map(said, yes_no))["Yes"] - len(yes_no) / 2) <= 1
            assert abs(Counter(one.answer for one in yes_no)["A"] - len(yes_no) / 2) <= 2
            which = of(asked, task=task, kind="What/How", dimension=dimension)
            assert len(which) > 20
            for count in {len(one.options) for one in which}:
                letters = Counter(one.answer for one in which if len(one.options) == count)
                turns = [letters[letter] for letter in LETTERS[:count]]
                assert max(turns) - min(turns) <= 1


def test_answers_are_true_of_the_labels(asked: list[Question]) -> None:
    samples = {sample.id: sample for sample in labeled()}
    for one in of(asked, task="perception", kind="What/How", dimension="emotion"):
        assert said(one) == samples[one.images[0]].label
        assert not set(one.options) - {said(one)} & {place.label for place in samples[one.images[0]].ranking}
    for one in of(asked, task="perception", kind="Yes-or-No", dimension="valence"):
        valence = samples[one.images[0]].valence
        assert valence is not None
        true = level(valence, "valence")
        assert (said(one) == "Yes") == (f"evokes {true}?" in one.question)
    for one in of(asked, task="pair", kind="Yes-or-No", dimension="arousal"):
        first, second = (samples[image].arousal for image in one.images)
        assert first is not None and second is not None
        assert (said(one) == "Yes") == (first > second)
        assert abs(first - second) >= 1
    for one in of(asked, task="pair", kind="What/How", dimension="emotion"):
        assert {samples[image].label for image in one.images} == {said(one)}
    for one in of(asked, task="ranking"):
        assert one.answer == ", ".join(place.label for place in samples[one.images[0]].ranking)


def test_the_thirds_of_the_scale_have_their_words() -> None:
    assert [level(value, "arousal") for value in (1, 3.6, 3.7, 6.3, 6.4, 9)] == [
        "low", "low", "moderate", "moderate", "high", "high",
    ]  # fmt: skip


def test_the_same_seed_asks_the_same(asked: list[Question]) -> None:
    assert questions(labeled(), seed=4) == asked
    assert questions(labeled(), seed=5) != asked


def test_samples_without_labels_are_asked_nothing() -> None:
    assert questions([Sample(id="1", source="s", license="", label="awe")], seed=0) == []


# --- the command ---------------------------------------------------------------------------------------------------


def emotic(folder: Path, people: int = 60) -> None:
    """EMOTIC's CSV layout with made-up people whose ratings follow their categories."""
    rng = np.random.default_rng(0)
    header = "Index,Folder,Filename,Image Size,BBox,Categorical_Labels,Continuous_Labels,Gender,Age\n"
    stream = io.BytesIO()
    Image.new("RGB", (6, 4)).save(stream, "JPEG")
    (folder / "emotic" / "set").mkdir(parents=True)
    (folder / "emotic_pre").mkdir()
    for split in ("train", "val", "test"):
        lines = []
        for number in range(people):
            category = CATEGORIES[int(rng.integers(len(CATEGORIES)))]
            happy = category in ("Happiness", "Pleasure", "Excitement", "Affection")
            ratings = [float(rng.integers(7, 11)), 6.0, 7.0] if happy else [float(rng.integers(1, 5)), 4.0, 3.0]
            name = f"{split}{number}.jpg"
            (folder / "emotic" / "set" / name).write_bytes(stream.getvalue())
            lines.append(f'{number},set,{name},"[6, 4]","[0, 0, 6, 4]",[\'{category}\'],"{ratings}",Male,Adult\n')
        (folder / "emotic_pre" / f"{split}.csv").write_text(header + "".join(lines))


def test_the_command_brings_sources_together_and_is_repeatable(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    emotic(tmp_path / "EMOTIC")
    layouts.oasis(tmp_path / "OASIS")
    theme = (tmp_path / "OASIS" / "OASIS.csv").read_text().splitlines()[1].split(",")[1]
    (tmp_path / "said.csv").write_text(f"source,id,comment\noasis,{theme},so calm\n")
    (tmp_path / "lexicon.csv").write_text(
        ",Word,V.Mean.Sum,V.SD.Sum,A.Mean.Sum,A.SD.Sum,D.Mean.Sum\n1,calm,7,1,2,1,6.5\n"
    )
    words = ["--source", "emotic", str(tmp_path / "EMOTIC"), "--source", "oasis", str(tmp_path / "OASIS"),
             "--comments", str(tmp_path / "said.csv"), "--lexicon", str(tmp_path / "lexicon.csv")]  # fmt: skip
    for out in ("a", "b"):
        assert main(["data", "build-eemodb", str(tmp_path / out), *words]) == 0
    one, other = (
        {str(path.relative_to(tmp_path / out)): path.read_bytes() for path in (tmp_path / out).rglob("*.*")}
        for out in ("a", "b")
    )
    assert one == other
    everyone = [sample for split in ("train", "val", "test") for sample in read_split(tmp_path / "a", split)]
    assert Counter(sample.source for sample in everyone)["emotic"] == 180
    by_id = {sample.id: sample for sample in everyone}
    assert by_id[f"oasis/{theme}"].dominance == 6.5  # from the comment; OASIS rates valence and arousal only
    assert by_id[f"oasis/{theme}"].valence != 7.0
    lines = (tmp_path / "a" / "questions" / "train.jsonl").read_text().splitlines()
    assert {image for line in lines for image in json.loads(line)["images"]} <= set(by_id)
    card = (tmp_path / "a" / "README.md").read_text()
    assert "| Happiness |" in card
    assert "R² on the parts left out" in card


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (("--test-share", "2"), "test_share: is 2"),
        (("--comments", "{}/said.csv"), "said.csv row 2 column id: is 'nobody'"),
    ],
)
def test_bad_words_are_refused_by_name(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], words: tuple[str, str], complaint: str
) -> None:
    layouts.oasis(tmp_path / "OASIS")
    (tmp_path / "said.csv").write_text("source,id,comment\noasis,nobody,so calm\n")
    words = (words[0], words[1].format(tmp_path))
    assert (
        main(["data", "build-eemodb", str(tmp_path / "out"), "--source", "oasis", str(tmp_path / "OASIS"), *words]) == 2
    )
    assert complaint in capsys.readouterr().err
