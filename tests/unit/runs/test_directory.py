"""The run directory keeps everything that is finished, and is only taken when that does no harm."""

import dataclasses
import errno
import itertools
import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from emofeedback.domain.assessment import Assessment
from emofeedback.domain.errors import FailedPrecondition, InvalidRequest, ResourceExhausted
from emofeedback.domain.optimization import Candidate, ImagePainted, RoundFinished
from emofeedback.runs.directory import RunDirectory, read_run
from emofeedback.runs.run import OptimizationRun, advance, from_json, json_schema, to_json
from support.fakes import GENERATOR_MODEL, look, paint
from support.staged_runs import PROMPTS, asked, new_run, staged_events

ROOT = Path(__file__).parents[3]
SCHEMA = ROOT / "docs" / "result.schema.json"
FIRST_FORMAT = ROOT / "tests" / "reference" / "run_result_1.json"


def finished_run() -> OptimizationRun:
    run = new_run()
    for event in staged_events():
        run = advance(run, event)
    return run


def record_until_round_finished(directory: RunDirectory, rounds: int) -> None:
    """Feeds the events up to the end of so many rounds, and the first image of the next one."""
    finished = 0
    for event in staged_events():
        directory.record(event)
        finished += isinstance(event, RoundFinished)
        if finished == rounds and isinstance(event, ImagePainted):
            return


def test_a_finished_run_lies_in_its_folder_as_promised(tmp_path: Path) -> None:
    directory = RunDirectory.open(tmp_path / "new" / "run", new_run())
    for event in staged_events():
        directory.record(event)
    result = json.loads((directory.path / "result.json").read_text())
    assert result["request"]["prompt"] == PROMPTS[0]
    assert result["request"]["target"] == {"valence": 7.5, "arousal": 3.0}
    assert (result["profile"], result["request"]["seed"], result["stopped_because"]) == ("nano", 5, "rounds")
    assert result["generator"] == {"name": "scripted-generator", "digest": "sha256:" + "1" * 64, "policy": ""}
    assert result["judge"] == {"name": "scripted-judge", "digest": "sha256:" + "2" * 64, "policy": ""}
    assert [r["prompt"] for r in result["rounds"]] == list(PROMPTS)
    assert result["best"] == {"round": 2, "index": 0, "loss": 0.0, "path": "round-3/image-1.png"}
    assert result["seconds"] == pytest.approx(6.0)
    for finished in result["rounds"]:
        for candidate in finished["candidates"]:
            seen = look((directory.path / candidate["path"]).read_bytes())
            assert (seen.prompt, seen.seed) == (finished["prompt"], candidate["seed"])


def test_an_image_that_could_not_be_judged_has_no_numbers_and_says_why() -> None:
    candidate = to_json(finished_run())["rounds"][1]["candidates"][1]
    assert candidate["outcome"] == {"reason": "the reply holds no rating"} and candidate["loss"] is None


def test_result_json_reads_back_as_the_same_run() -> None:
    run = finished_run()
    assert from_json(json.loads(json.dumps(to_json(run)))) == run


def test_result_json_keeps_all_of_the_request_but_where_it_went_on() -> None:
    request = dataclasses.replace(new_run().request, policy="calm", tolerance=0.5, time_budget=60.0, rounds=7)
    run = dataclasses.replace(finished_run(), request=request)
    asked_for = to_json(run)["request"]
    assert asked_for.keys() == {field.name for field in dataclasses.fields(request)} - {"resume", "request_id"}
    assert from_json(to_json(run)).request == request


def test_a_result_of_the_first_version_reads_as_the_same_run_but_for_how_sure_its_judge_was() -> None:
    unsure: Any = {"valence_distribution": None, "arousal_distribution": None, "emotions": ()}

    def forgetting(candidate: Candidate) -> Candidate:
        if not isinstance(candidate.outcome, Assessment):
            return candidate
        return dataclasses.replace(candidate, outcome=dataclasses.replace(candidate.outcome, **unsure))

    run = finished_run()
    rounds = (dataclasses.replace(one, candidates=tuple(map(forgetting, one.candidates))) for one in run.rounds)
    assert from_json(json.loads(FIRST_FORMAT.read_text())) == dataclasses.replace(run, rounds=tuple(rounds))


def test_a_result_fits_the_schema_in_the_docs_which_is_the_one_of_the_code() -> None:
    assert json.loads(SCHEMA.read_text()) == json_schema(), "run `make schemas`"
    jsonschema.validate(json.loads(json.dumps(to_json(finished_run()))), json_schema())
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(to_json(finished_run()) | {"seconds": "six"}, json_schema())


def test_result_json_says_for_whom() -> None:
    run = finished_run()
    run = dataclasses.replace(run, request=dataclasses.replace(run.request, user="ada"))
    content = to_json(run)
    assert from_json(content).request.user == content["request"]["user"] == "ada"


def test_result_json_says_whether_the_judge_knew_the_picture_and_one_of_an_earlier_version_does_not() -> None:
    run = finished_run()
    outcome = run.rounds[0].candidates[0].outcome
    assert isinstance(outcome, Assessment)
    felt = dataclasses.replace(outcome, domain_score=2.5)
    first = dataclasses.replace(run.rounds[0].candidates[0], outcome=felt)
    finished = dataclasses.replace(run.rounds[0], candidates=(first, *run.rounds[0].candidates[1:]))
    content = json.loads(json.dumps(to_json(dataclasses.replace(run, rounds=(finished, *run.rounds[1:])))))
    assert content["rounds"][0]["candidates"][0]["outcome"]["domain_score"] == 2.5
    assert from_json(content).rounds[0].candidates[0].outcome == felt
    for turn in content["rounds"]:
        for candidate in turn["candidates"]:
            candidate["outcome"].pop("domain_score", None)
    assert from_json(content) == run


def test_images_are_kept_as_soon_as_they_are_painted(tmp_path: Path) -> None:
    directory = RunDirectory.open(tmp_path / "run", new_run())
    painted = next(event for event in staged_events() if isinstance(event, ImagePainted))
    directory.record(painted)
    assert (tmp_path / "run/round-1/image-1.png").read_bytes() == painted.image.data


def test_a_cut_run_goes_on_after_its_last_finished_round(tmp_path: Path) -> None:
    record_until_round_finished(RunDirectory.open(tmp_path, new_run()), 2)
    directory = RunDirectory.open(tmp_path, new_run(), resume=True)
    resume = directory.resume_point()
    assert resume is not None
    assert [r.prompt for r in resume.rounds] == list(PROMPTS[:2])
    assert resume.best_image == paint(PROMPTS[1], 5)
    for event in staged_events(first_round=2):
        directory.record(event)
    assert read_run(tmp_path) == finished_run()


def test_a_run_cut_in_its_first_round_starts_again(tmp_path: Path) -> None:
    record_until_round_finished(RunDirectory.open(tmp_path, new_run()), 0)
    assert RunDirectory.open(tmp_path, new_run(), resume=True).resume_point() is None


def test_a_folder_that_is_not_empty_is_refused_without_resume(tmp_path: Path) -> None:
    (tmp_path / "holiday.jpg").write_bytes(b"precious")
    with pytest.raises(InvalidRequest, match="is not empty") as refused:
        RunDirectory.open(tmp_path, new_run())
    assert refused.value.violations[0].field == "out"
    with pytest.raises(InvalidRequest, match="holds no run to resume"):
        RunDirectory.open(tmp_path, new_run(), resume=True)
    assert [path.name for path in tmp_path.iterdir()] == ["holiday.jpg"]


def test_a_folder_taken_for_a_run_that_never_began_can_be_taken_again(tmp_path: Path) -> None:
    RunDirectory.open(tmp_path / "run", new_run())
    assert RunDirectory.open(tmp_path / "run", new_run()).run == new_run()


def test_resume_in_a_new_folder_simply_starts(tmp_path: Path) -> None:
    assert RunDirectory.open(tmp_path / "new", new_run(), resume=True).resume_point() is None


@pytest.mark.parametrize(
    ("field", "other"),
    [
        ("prompt", asked(prompt="a cat", profile="nano", seed=5, images=3)),
        ("seed", asked(prompt=PROMPTS[0], profile="nano", seed=6, images=3)),
        ("images", asked(prompt=PROMPTS[0], profile="nano", seed=5, images=4)),
        ("profile", asked(prompt=PROMPTS[0], profile=None, seed=5, images=3)),
        ("user", asked(prompt=PROMPTS[0], profile="nano", seed=5, images=3, user="ada")),
        ("imagine", asked(prompt=PROMPTS[0], profile="nano", seed=5, images=3, imagine=True)),
    ],
)
def test_a_run_is_resumed_only_as_what_it_was_started_as(tmp_path: Path, field: str, other: OptimizationRun) -> None:
    record_until_round_finished(RunDirectory.open(tmp_path, new_run()), 0)
    with pytest.raises(InvalidRequest, match="was started with") as refused:
        RunDirectory.open(tmp_path, other, resume=True)
    assert refused.value.violations[0].field == field


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"rounds": [{"index": 3}]}', "\x00"])
def test_a_spoilt_result_is_named(tmp_path: Path, content: str) -> None:
    (tmp_path / "result.json").write_text(content)
    with pytest.raises(FailedPrecondition, match=r"result\.json is not the result of a run"):
        RunDirectory.open(tmp_path, new_run(), resume=True)


def test_a_result_whose_answer_is_none_of_its_images_is_refused(tmp_path: Path) -> None:
    content = to_json(finished_run())
    content["best"]["index"] = 17
    (tmp_path / "result.json").write_text(json.dumps(content))
    with pytest.raises(FailedPrecondition, match=r"is not the result of a run"):
        read_run(tmp_path)


def test_a_lost_best_image_is_named(tmp_path: Path) -> None:
    directory = RunDirectory.open(tmp_path, new_run())
    record_until_round_finished(directory, 1)
    (tmp_path / "round-1/image-1.png").unlink()
    with pytest.raises(FailedPrecondition, match=r"round-1/image-1\.png can't be read: No such file"):
        directory.resume_point()


def test_an_unwritable_folder_is_refused_before_any_work(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(InvalidRequest, match=r"^out: .*file/run can't be written: Not a directory"):
        RunDirectory.open(tmp_path / "file" / "run", new_run())


def test_a_full_disk_keeps_what_was_finished(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    directory = RunDirectory.open(tmp_path, new_run())
    record_until_round_finished(directory, 1)
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}

    def no_space(_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("os.fsync", no_space)
    late = itertools.dropwhile(lambda e: not (isinstance(e, ImagePainted) and e.image.index == 2), staged_events())
    with pytest.raises(ResourceExhausted, match=r"disk is full, .*image-3\.png could not be written"):
        directory.record(next(late))
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before


def test_a_finished_run_that_is_resumed_keeps_the_policy_that_painted_it(tmp_path: Path) -> None:
    learned = dataclasses.replace(GENERATOR_MODEL, policy="calm-final")
    directory = RunDirectory.open(tmp_path, new_run())
    for event in staged_events():
        if isinstance(event, ImagePainted):
            event = dataclasses.replace(event, image=dataclasses.replace(event.image, model=learned))
        directory.record(event)  # the loop's last event names the model without its policy
    again = RunDirectory.open(tmp_path, new_run(), resume=True)
    *_, finished = staged_events()
    again.record(finished)
    assert read_run(tmp_path).generator == again.run.generator == learned


def test_what_a_killed_process_left_is_nothing_that_is_in_the_way(tmp_path: Path) -> None:
    (tmp_path / ".lock").touch()
    (tmp_path / ".result.json.7-7.part").write_text("{")
    (tmp_path / "round-1").mkdir()
    assert RunDirectory.open(tmp_path, new_run(), resume=True).resume_point() is None
    assert RunDirectory.open(tmp_path, new_run()).resume_point() is None


def test_a_run_never_mixes_two_generators(tmp_path: Path) -> None:
    directory = RunDirectory.open(tmp_path, new_run())
    first, second = itertools.islice((e for e in staged_events() if isinstance(e, ImagePainted)), 2)
    directory.record(first)
    other = type(second.image.model)(name="another", digest="sha256:" + "9" * 64)
    image = type(second.image)(**{**vars(second.image), "model": other})
    with pytest.raises(FailedPrecondition, match="a run never mixes two"):
        directory.record(ImagePainted(round=0, image=image))
