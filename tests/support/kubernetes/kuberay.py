"""KubeRay's part of a cluster for the tests: RayJobs of `api.kube_api` really run, as processes of this machine.

What its controller does to a RayJob, in its own words (`jobDeploymentStatus`): Initializing, with a pod that is made;
Running the entrypoint; Complete or Failed; on `suspend`, the pod's end is waited for, then Suspended. A RayJob that is
deleted takes its pod along.
"""

from __future__ import annotations

import os
import signal
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from support.kubernetes.store import KubeApi, Refused


class PretendedKubeRay:
    """Looks after the RayJobs of one namespace."""

    def __init__(self, api: KubeApi, commands: Path) -> None:
        """`commands` comes first on the PATH of the jobs: what their images bring."""
        self.room = True
        """Whether the scheduler finds a node for new pods."""
        self.pods: dict[str, subprocess.Popen[bytes]] = {}
        self._api = api
        self._env = {**os.environ, "PATH": f"{commands}:{os.environ['PATH']}"}
        self._folder = commands

    def reconcile(self) -> None:
        """One look at everything."""
        jobs = {job["metadata"]["name"]: job for job in self._api.objects("RayJob")}
        for name, job in jobs.items():
            self._advance(name, job)
        for name in [name for name in self.pods if name not in jobs]:
            self._end_pod(name)

    def kill_pod(self, name: str) -> None:
        """As a node that dies does."""
        os.killpg(self.pods[name].pid, signal.SIGKILL)

    def _advance(self, name: str, job: dict[str, Any]) -> None:
        status = job.get("status", {}).get("jobDeploymentStatus", "")
        if status in ("Complete", "Failed", "Suspended"):
            return
        if job["spec"].get("suspend"):
            self._end_pod(name)
            self._tell(name, "Suspended", "")
        elif not status or (status == "Initializing" and name not in self.pods):
            self._make_pod(name, job)
        elif status == "Initializing":
            self._tell(name, "Running", "RUNNING")
        elif (code := self.pods[name].poll()) is not None:
            log = (self._folder / f"{name}.log").read_text()
            if code:
                quoted = f"Job entrypoint command failed with exit code {code}, last available logs:\n{log}"
                self._tell(name, "Failed", "FAILED", reason="AppFailed", message=quoted)
            else:
                self._tell(name, "Complete", "SUCCEEDED")
            self._end_pod(name)

    def _make_pod(self, name: str, job: dict[str, Any]) -> None:
        self._tell(name, "Initializing", "")
        labels = job["spec"]["rayClusterSpec"]["headGroupSpec"]["template"]["metadata"]["labels"]
        meta = {"name": f"{name}-head", "labels": labels}
        pod: dict[str, Any] = {"apiVersion": "v1", "kind": "Pod", "metadata": meta, "status": {"phase": "Pending"}}
        if not self.room:
            text = "0/3 nodes are available: 3 Insufficient nvidia.com/gpu."
            condition = {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": text}
            self._api.put({**pod, "status": {"phase": "Pending", "conditions": [condition]}})
            return
        with (self._folder / f"{name}.log").open("wb") as log:
            self.pods[name] = subprocess.Popen(
                ["sh", "-c", job["spec"]["entrypoint"]],
                env=self._env,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        self._api.put({**pod, "status": {"phase": "Running"}})

    def _end_pod(self, name: str) -> None:
        """The template's hook interrupts the run; the shell that started it ends with it."""
        process = self.pods.pop(name, None)
        if process is not None:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGINT)
            process.wait()
        with suppress(Refused):
            self._api.remove("Pod", f"{name}-head")

    def _tell(self, name: str, deployment: str, job: str, **more: str) -> None:
        with suppress(Refused):  # it may have been deleted meanwhile
            self._api.set_status("RayJob", name, {"jobDeploymentStatus": deployment, "jobStatus": job, **more})


@contextmanager
def pretended_kuberay(api: KubeApi, commands: Path) -> Iterator[PretendedKubeRay]:
    """At work in a thread for as long as the context lasts."""
    operator, ended = PretendedKubeRay(api, commands), threading.Event()

    def work() -> None:
        while not ended.wait(0.05):
            operator.reconcile()

    thread = threading.Thread(target=work)
    thread.start()
    try:
        yield operator
    finally:
        ended.set()
        thread.join()
        for process in operator.pods.values():
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
