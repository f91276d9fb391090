"""The RayJob that the service makes of a template, and how it reads what the cluster says of it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from emofeedback.domain.errors import FailedPrecondition, InvalidRequest, Unavailable
from emofeedback.serving.kubernetes import connect
from emofeedback_trainer.service.backends.base import JobStatus, job_name, stem
from emofeedback_trainer.service.backends.kubernetes import KubernetesJobs, filled, load_template
from support.kubernetes.api import kube_api
from support.kubernetes.store import KubeApi

WORDS = ["flow-grpo", "--config", "/runs/.service/calm/config.toml", "--out", "/runs/calm"]
TEMPLATE: dict[str, Any] = {
    "apiVersion": "ray.io/v1",
    "kind": "RayJob",
    "metadata": {"labels": {"team": "art"}},
    "spec": {
        "backoffLimit": 2,
        "rayClusterSpec": {
            "headGroupSpec": {"template": {"metadata": {"labels": {"team": "art"}}, "spec": {"containers": []}}},
            "workerGroupSpecs": [{"groupName": "learners", "template": {"spec": {"containers": []}}}],
        },
    },
}


@pytest.fixture
def api(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[KubeApi]:
    with kube_api() as api:
        monkeypatch.setenv("KUBECONFIG", str(api.kubeconfig(tmp_path, namespace="art")))
        yield api


@pytest.fixture
def jobs(api: KubeApi, tmp_path: Path) -> KubernetesJobs:
    template = tmp_path / "rayjob.yaml"
    template.write_text(yaml.safe_dump(TEMPLATE))
    return KubernetesJobs(connect(), template, recent=0.0)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "calm").mkdir()
    return tmp_path / "calm"


def started(jobs: KubernetesJobs, api: KubeApi, folder: Path) -> str:
    jobs.start(folder, WORDS)
    (job,) = api.objects("RayJob", "art")
    return str(job["metadata"]["name"])


def test_the_template_is_filled_in_and_nothing_else_of_it_changes() -> None:
    job = filled(TEMPLATE, name="run-calm-1", run="Calm_2.0", words=WORDS)
    assert job["metadata"] == {
        "name": "run-calm-1",
        "labels": {"team": "art", "emofeedback.io/job": "run-calm-1", "emofeedback.io/run": "alm-2-0"},
        "annotations": {"emofeedback.io/run": "Calm_2.0"},
    }
    assert job["spec"]["entrypoint"] == (
        "emofeedback-train flow-grpo --config /runs/.service/calm/config.toml --out /runs/calm "
        "$(test -e /runs/calm/checkpoint && echo --resume)"
    )
    cluster = job["spec"].pop("rayClusterSpec")
    for pod in (cluster["headGroupSpec"]["template"], cluster["workerGroupSpecs"][0]["template"]):
        assert pod["metadata"]["labels"]["emofeedback.io/job"] == "run-calm-1" and pod["spec"] == {"containers": []}
    assert job["spec"]["backoffLimit"] == 2 and "name" not in TEMPLATE["metadata"]
    resumed = filled(TEMPLATE, name="run-calm-2", run="calm", words=[*WORDS, "--resume"])
    assert resumed["spec"]["entrypoint"].endswith("--out /runs/calm --resume")


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("kind: [", "can't be read"),
        ("{apiVersion: batch/v1, kind: Job}", "is a Job, not a RayJob"),
        ("{apiVersion: ray.io/v1, kind: RayJob, spec: {}}", "lacks 'rayClusterSpec'"),
        ("[]", "no whole RayJob"),
    ],
)
def test_a_template_that_cannot_be_filled_in_is_refused(tmp_path: Path, text: str, problem: str) -> None:
    (tmp_path / "rayjob.yaml").write_text(text)
    with pytest.raises(InvalidRequest, match=problem) as refused:
        load_template(tmp_path / "rayjob.yaml")
    assert refused.value.violations[0].field == "--job-template"


def test_names_of_jobs_are_names_of_kubernetes_and_never_the_same() -> None:
    for run in ("calm", "9_lives.2", "x" * 64, "a" + "-" * 40 + "b"):
        assert len(job_name(run)) <= 40 and job_name(run) != job_name(run)
        assert stem(run) in job_name(run) and stem(run).strip("-") == stem(run)


def test_a_job_is_created_in_the_namespace_and_found_by_whoever_asks(
    jobs: KubernetesJobs, api: KubeApi, folder: Path, tmp_path: Path
) -> None:
    name = started(jobs, api, folder)
    assert jobs.look(folder) == JobStatus(alive=True, words="its RayJob is new")
    another = KubernetesJobs(connect(), tmp_path / "rayjob.yaml", recent=0.0)  # as after a restart of the service
    another.start(folder, WORDS)
    assert len(api.objects("RayJob")) == 1
    api.set_status("RayJob", name, {"jobDeploymentStatus": "Running", "jobStatus": "RUNNING"}, "art")
    assert another.look(folder) == JobStatus(alive=True)
    another.interrupt(folder)
    assert api.find("RayJob", name, "art")["spec"]["suspend"] is True
    another.kill(folder)
    assert api.objects("RayJob") == [] and another.look(folder) == JobStatus(alive=False, words="its RayJob is gone")


def pod(name: str, **status: Any) -> dict[str, Any]:
    meta = {"name": f"{name}-head", "namespace": "art", "labels": {"emofeedback.io/job": name}}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": meta, "status": {"phase": "Pending", **status}}


def container(**of: Any) -> list[dict[str, Any]]:
    return [{"name": "ray-head", "image": "i", "imageID": "", "ready": False, "restartCount": 0, **of}]


def test_what_a_job_waits_for_is_told(jobs: KubernetesJobs, api: KubeApi, folder: Path) -> None:
    name = started(jobs, api, folder)
    api.set_status("RayJob", name, {"jobDeploymentStatus": "Initializing"}, "art")
    assert jobs.look(folder).words == "its RayJob is Initializing"
    unschedulable = {"type": "PodScheduled", "status": "False", "message": "0/3 nodes: Insufficient nvidia.com/gpu"}
    api.put(pod(name, conditions=[unschedulable]))
    assert jobs.look(folder) == JobStatus(
        alive=True, words="its pod waits for a node: 0/3 nodes: Insufficient nvidia.com/gpu"
    )
    pulling = {"waiting": {"reason": "ImagePullBackOff", "message": 'Back-off pulling image "i"'}}
    api.put(pod(name, containerStatuses=container(state=pulling)))
    assert jobs.look(folder).words == 'its pod waits: ImagePullBackOff, Back-off pulling image "i"'


def test_why_a_job_has_ended_is_told(jobs: KubernetesJobs, api: KubeApi, folder: Path) -> None:
    name = started(jobs, api, folder)
    killed = {"terminated": {"reason": "OOMKilled", "exitCode": 137}}
    api.put(pod(name, phase="Failed", containerStatuses=container(lastState=killed, state={})))
    said = "Job entrypoint command failed with exit code 1, last available logs:\nloading\nCUDA out of memory\n\n"
    failed = {"jobDeploymentStatus": "Failed", "jobStatus": "FAILED", "reason": "AppFailed", "message": said}
    api.set_status("RayJob", name, failed, "art")
    assert jobs.look(folder) == JobStatus(alive=False, words="AppFailed; CUDA out of memory; ray-head: OOMKilled")


def test_a_suspended_job_lives_as_long_as_its_pods(jobs: KubernetesJobs, api: KubeApi, folder: Path) -> None:
    name = started(jobs, api, folder)
    api.put(pod(name, phase="Running"))
    api.set_status("RayJob", name, {"jobDeploymentStatus": "Suspended"}, "art")
    assert jobs.look(folder).alive
    api.remove("Pod", f"{name}-head", "art")
    assert not jobs.look(folder).alive
    jobs.start(folder, [*WORDS, "--resume"])  # and makes room for the next one
    assert [job["metadata"]["name"] for job in api.objects("RayJob")] != [name]


def test_what_the_cluster_refuses_is_said(jobs: KubernetesJobs, api: KubeApi, folder: Path) -> None:
    api.forbidden.add(("create", "rayjobs"))
    with pytest.raises(FailedPrecondition, match=r"can't create a RayJob .*: rayjobs is forbidden"):
        jobs.start(folder, WORDS)
    api.down = "etcd is away"
    with pytest.raises(Unavailable, match="etcd is away"):
        jobs.look(folder)
