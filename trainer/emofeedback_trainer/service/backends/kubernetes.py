"""Runs as RayJobs of a Kubernetes cluster with KubeRay, all of whose pods see the service's folder of runs.

A template, which the chart brings, says everything about the pods; the service fills in the name, what the run is
called, and the command. The cluster keeps the rest: a service that is started anew finds its RayJobs there.

A run is cancelled by suspending its RayJob: KubeRay deletes the pods, and a hook in the template gives the run the time
to say so (`last_call`). A RayJob that doesn't get there is deleted.
"""

from __future__ import annotations

import copy
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml
from kubernetes import client

from emofeedback.domain.errors import InvalidRequest, NotFound
from emofeedback.serving.kubernetes import CALL_SECONDS, Cluster, explained
from emofeedback.storage.texts import read_text
from emofeedback_trainer.service.backends.base import (
    LAST_WORDS,
    JobStatus,
    Recent,
    job_name,
    keep_job,
    kept_job,
    last_line,
    stem,
)

JOB_LABEL = "emofeedback.io/job"
"""On the RayJob and on its pods: the RayJob's name."""
RUN = "emofeedback.io/run"
"""On the RayJob: as an annotation the run's name, as a label its stem."""
_KIND = {"group": "ray.io", "version": "v1", "plural": "rayjobs"}
_OVER = ("Complete", "Failed")
"""Deployment status of a RayJob with which KubeRay is done."""


class KubernetesJobs:
    """A back end: one RayJob a run."""

    def __init__(self, cluster: Cluster, template: Path, *, recent: float = 2.0) -> None:
        """
        Args:
            recent: seconds for which what the cluster said is believed.

        Raises:
            InvalidRequest: the template is no RayJob that can be filled in.
        """
        self._template = load_template(template)
        self._cluster = cluster
        self._custom = client.CustomObjectsApi(cluster.api)
        self._core = client.CoreV1Api(cluster.api)
        self._jobs: Recent[dict[str, Any]] = Recent(self._list_jobs, recent)
        self._pods: Recent[dict[str, list[Any]]] = Recent(self._list_pods, recent)

    def start(self, folder: Path, words: Sequence[str]) -> None:
        if self.look(folder).alive:
            return
        self.kill(folder)  # the RayJob of the run's last start
        name = job_name(folder.name)
        keep_job(folder, name)
        manifest = filled(self._template, name=name, run=folder.name, words=words)
        with explained("create a RayJob (is KubeRay installed?)"):
            self._custom.create_namespaced_custom_object(
                **_KIND, namespace=self._cluster.namespace, body=manifest, _request_timeout=CALL_SECONDS
            )
        self._forget()

    def look(self, folder: Path) -> JobStatus:
        name = kept_job(folder)
        job, pods = self._jobs().get(name), self._pods().get(name, [])
        if job is None:
            return JobStatus(alive=any(map(_is_up, pods)), words="its RayJob is gone")
        status = job.get("status") or {}
        deployment = status.get("jobDeploymentStatus", "")
        if deployment in _OVER:
            return JobStatus(alive=False, words=_end(status, pods))
        if deployment == "Suspended":
            return JobStatus(alive=any(map(_is_up, pods)))  # KubeRay doesn't wait for them
        if status.get("jobStatus") in ("RUNNING", "SUCCEEDED", "STOPPED"):
            return JobStatus(alive=True)
        return JobStatus(alive=True, words=_hindrance(pods) or f"its RayJob is {deployment or 'new'}")

    def interrupt(self, folder: Path) -> None:
        if (name := kept_job(folder)) in self._jobs():
            with explained(f"suspend RayJob {name}"):
                self._custom.patch_namespaced_custom_object(
                    **_KIND,
                    namespace=self._cluster.namespace,
                    name=name,
                    body={"spec": {"suspend": True}},
                    _request_timeout=CALL_SECONDS,
                )
            self._forget()

    def kill(self, folder: Path) -> None:
        name = kept_job(folder)
        job = self._jobs().get(name)
        if job is None or "deletionTimestamp" in job["metadata"]:
            return
        try:
            with explained(f"delete RayJob {name}"):
                self._custom.delete_namespaced_custom_object(
                    **_KIND, namespace=self._cluster.namespace, name=name, _request_timeout=CALL_SECONDS
                )
        except NotFound:
            pass
        self._forget()

    def _list_jobs(self) -> dict[str, Any]:
        with explained("list the RayJobs (is KubeRay installed?)"):
            found = self._custom.list_namespaced_custom_object(
                **_KIND, namespace=self._cluster.namespace, label_selector=JOB_LABEL, _request_timeout=CALL_SECONDS
            )
        return {job["metadata"]["name"]: job for job in found["items"]}

    def _list_pods(self) -> dict[str, list[Any]]:
        with explained("list the pods of the RayJobs"):
            found = self._core.list_namespaced_pod(
                self._cluster.namespace, label_selector=JOB_LABEL, _request_timeout=CALL_SECONDS
            )
        pods: dict[str, list[Any]] = {}
        for pod in found.items:
            pods.setdefault(pod.metadata.labels[JOB_LABEL], []).append(pod)
        return pods

    def _forget(self) -> None:
        self._jobs.forget()
        self._pods.forget()


def load_template(path: Path) -> dict[str, Any]:
    """The manifest of a RayJob, as YAML.

    Raises:
        InvalidRequest: it can't be read, or is none.
    """
    try:
        manifest = yaml.safe_load(read_text(path))
        if (manifest["apiVersion"], manifest["kind"]) != ("ray.io/v1", "RayJob"):
            raise InvalidRequest.of("--job-template", f"{path} is a {manifest['kind']}, not a RayJob of ray.io/v1")
        _pod_templates(manifest)
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise InvalidRequest.of("--job-template", f"{path} can't be read: {' '.join(str(error).split())}") from error
    except (LookupError, TypeError) as error:
        raise InvalidRequest.of("--job-template", f"{path} is no whole RayJob, it lacks {error}") from error
    found: dict[str, Any] = manifest
    return found


def filled(template: dict[str, Any], *, name: str, run: str, words: Sequence[str]) -> dict[str, Any]:
    """The RayJob of a run, from the template.

    KubeRay may start a RayJob's command a second time, in a new cluster (`backoffLimit`): it then goes on from the
    checkpoint.
    """
    manifest = copy.deepcopy(template)
    manifest["metadata"] = {
        **manifest.get("metadata", {}),
        "name": name,
        "labels": {**manifest.get("metadata", {}).get("labels", {}), JOB_LABEL: name, RUN: stem(run)},
        "annotations": {**manifest.get("metadata", {}).get("annotations", {}), RUN: run},
    }
    for pod in _pod_templates(manifest):
        meta = pod.setdefault("metadata", {})
        meta["labels"] = {**meta.get("labels", {}), JOB_LABEL: name}
    checkpoint = Path(words[words.index("--out") + 1]) / "checkpoint"
    again = "" if "--resume" in words else f" $(test -e {shlex.quote(str(checkpoint))} && echo --resume)"
    manifest["spec"]["entrypoint"] = shlex.join(["emofeedback-train", *words]) + again
    return manifest


def _pod_templates(manifest: dict[str, Any]) -> list[dict[str, Any]]:
    cluster = manifest["spec"]["rayClusterSpec"]
    return [group["template"] for group in (cluster["headGroupSpec"], *cluster.get("workerGroupSpecs", ()))]


def _is_up(pod: Any) -> bool:
    return pod.status.phase not in ("Succeeded", "Failed")


def _hindrance(pods: Sequence[Any]) -> str:
    """Why no pod of a job works yet, as the scheduler or the node says; empty where they don't."""
    for pod in pods:
        for condition in pod.status.conditions or ():
            if condition.type == "PodScheduled" and condition.status == "False":
                return f"its pod waits for a node: {condition.message or condition.reason}"[:LAST_WORDS]
        for container in pod.status.container_statuses or ():
            waiting = container.state and container.state.waiting
            if waiting and waiting.reason not in ("ContainerCreating", "PodInitializing"):
                return f"its pod waits: {waiting.reason}, {waiting.message or 'no reason given'}"[:LAST_WORDS]
    return ""


def _end(status: dict[str, Any], pods: Sequence[Any]) -> str:
    """Why a RayJob is over: what KubeRay says, the last line of the log that it quotes, and how containers ended."""
    ends = {
        f"{container.name}: {ended.reason}"
        for pod in pods
        for container in pod.status.container_statuses or ()
        for ended in [(container.state and container.state.terminated) or _last_end(container)]
        if ended and ended.reason not in (None, "Completed")
    }
    said = [status.get("reason", ""), last_line(status.get("message", "")), *sorted(ends)]
    return "; ".join(filter(None, said))[:LAST_WORDS]


def _last_end(container: Any) -> Any:
    return container.last_state and container.last_state.terminated
