"""`emofeedback deploy` against a pretended cluster."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from emofeedback.cli.deploy.needs import needs_of
from emofeedback.cli.main import main
from emofeedback.domain.errors import InvalidRequest
from emofeedback.serving.config import serve_config
from support.kubernetes.api import kube_api
from support.kubernetes.store import KINDS, KubeApi

MANIFESTS = """
apiVersion: ray.io/v1
kind: RayService
metadata: {name: emo}
spec:
  rayClusterConfig:
    headGroupSpec:
      template:
        spec: {imagePullSecrets: [{name: registry}], containers: [{name: head, resources: {limits: {cpu: 2}}}]}
    workerGroupSpecs:
      - minReplicas: 2
        maxReplicas: 8
        template:
          spec:
            runtimeClassName: nvidia
            containers:
              - name: worker
                resources: {limits: {cpu: 8, nvidia.com/gpu: 1}}
                env: [{name: HF_TOKEN, valueFrom: {secretKeyRef: {name: hub, key: token}}}]
                envFrom: [{secretRef: {name: store}}]
            volumes:
              - {name: models, persistentVolumeClaim: {claimName: shared-models}}
              - {name: runs, persistentVolumeClaim: {claimName: emo-runs}}
---
apiVersion: v1
kind: PersistentVolumeClaim
metadata: {name: emo-runs}
spec: {storageClassName: fast, resources: {requests: {storage: 1Gi}}}
---
apiVersion: monitoring.coreos.com/v1
kind: PodMonitor
metadata: {name: emo}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: emo-rayjob}
data:
  rayjob.yaml: |
    apiVersion: ray.io/v1
    kind: RayJob
    spec:
      rayClusterSpec:
        workerGroupSpecs:
          - {minReplicas: 1, template: {spec: {containers: [{resources: {limits: {nvidia.com/gpu: 2}}}]}}}
"""


@pytest.fixture
def api(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[KubeApi]:
    with kube_api() as api:
        monkeypatch.setenv("KUBECONFIG", str(api.kubeconfig(tmp_path, namespace="art")))
        yield api


def item(api_version: str, kind: str, name: str, namespace: str = "", **more: Any) -> dict[str, Any]:
    meta = {"name": name, **({"namespace": namespace} if namespace else {}), **more.pop("meta", {})}
    return {"apiVersion": api_version, "kind": kind, "metadata": meta, **more}


def says(capsys: pytest.CaptureFixture[str], *words: str, code: int = 0) -> str:
    assert main(["deploy", *words]) == code
    said = capsys.readouterr()
    return said.err if code and not said.out else said.out


def test_render_prints_what_serve_takes(capsys: pytest.CaptureFixture[str]) -> None:
    shown = says(capsys, "render", "--profile", "sd35-medium", "--policies", "s3://bucket/policies")
    assert yaml.safe_load(shown) == serve_config("sd35-medium", policies="s3://bucket/policies")
    assert "profile" in says(capsys, "render", "--profile", "huge", code=2)


def test_without_a_cluster_it_says_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "none"))
    for action in ("status", "doctor"):
        said = says(capsys, action, code=1)
        assert "there is no cluster to talk to" in said and "Set KUBECONFIG" in said
    with kube_api() as api:
        monkeypatch.setenv("KUBECONFIG", str(api.kubeconfig(tmp_path)))
        assert "the kubeconfig leads nowhere" in says(capsys, "status", "--context", "other", code=1)
    assert "no Kubernetes API answers" in says(capsys, "status", code=1)


def test_status_tells_conditions_applications_pods_and_gpus(api: KubeApi, capsys: pytest.CaptureFixture[str]) -> None:
    assert "there is no RayService in namespace art" in says(capsys, "status", code=1)
    deployments = {"GeneratorDeployment": {"status": "UPDATING", "message": "1 replica\n waits for a GPU"}}
    running = {"generator": {"status": "DEPLOYING", "serveDeploymentStatuses": deployments}}
    active = {
        "rayClusterName": "emo-1",
        "applicationStatuses": running,
        "rayClusterStatus": {"desiredWorkerReplicas": 2, "readyWorkerReplicas": 1},
    }
    waits = {"type": "Ready", "status": "False", "reason": "Initializing", "message": "applications deploy"}
    status = {"conditions": [waits], "activeServiceStatus": active}
    api.put(item("ray.io/v1", "RayService", "emo", "art", status=status))
    conditions = {
        "emo-a": [{"type": "Ready", "status": "True"}],
        "emo-b": [{"type": "PodScheduled", "status": "False", "message": "0/3 nodes: Insufficient nvidia.com/gpu"}],
    }
    for name, said in conditions.items():
        labels = {"ray.io/cluster": "emo-1", "ray.io/group": "generator"}
        container = {"name": "ray-worker", "image": "i", "resources": {"limits": {"nvidia.com/gpu": "1"}}}
        pod = item("v1", "Pod", name, "art", meta={"labels": labels}, status={"phase": "Pending", "conditions": said})
        api.put({**pod, "spec": {"containers": [container]}})
    assert says(capsys, "status", code=1).splitlines() == [
        "emo: NOT READY",
        "  Ready False: Initializing, applications deploy",
        "  active cluster emo-1: 1 of 2 workers ready",
        "    generator: 1 of 2 pods ready, 2 GPUs; 0/3 nodes: Insufficient nvidia.com/gpu",
        "    application generator: DEPLOYING",
        "      GeneratorDeployment: UPDATING, 1 replica waits for a GPU",
    ]
    api.set_status("RayService", "emo", {**status, "conditions": [{"type": "Ready", "status": "True"}]}, "art")
    shown = json.loads(says(capsys, "status", "--json"))
    assert shown["services"][0]["ready"] and shown["services"][0]["clusters"][0]["groups"][0]["gpus"] == 2


def test_what_an_installation_needs_is_read_off_its_manifests() -> None:
    needs = needs_of(MANIFESTS)
    monitor = ("monitoring.coreos.com/v1", "PodMonitor")
    assert needs.kinds == {("ray.io/v1", "RayService"), ("ray.io/v1", "RayJob"), monitor}
    assert needs.secrets == {("registry", ""), ("hub", "token"), ("store", "")}
    assert needs.claims == {"shared-models"} and needs.storage_classes == {"fast"}
    assert needs.runtime_classes == {"nvidia"} and needs.devices == {"nvidia.com/gpu": 2 * 1 + 2}
    for wrong in ("kind: [", "just words", "{kind: Pod}"):
        with pytest.raises(InvalidRequest, match="not what `helm template` prints"):
            needs_of(wrong)


def furnish(api: KubeApi) -> None:
    """What the manifests need, and KubeRay."""
    operator = {"labels": {"app.kubernetes.io/name": "kuberay-operator"}}
    container: dict[str, Any] = {"selector": {}, "template": {}}
    deployment = item("apps/v1", "Deployment", "kuberay-operator", "kuberay", meta=operator, spec=container)
    api.put({**deployment, "status": {"readyReplicas": 1}})
    default = {"annotations": {"storageclass.kubernetes.io/is-default-class": "true"}}
    api.put(item("storage.k8s.io/v1", "StorageClass", "fast", meta=default, provisioner="p"))
    api.put(item("v1", "Node", "gpu-1", status={"allocatable": {"nvidia.com/gpu": "8"}}))
    api.put(item("node.k8s.io/v1", "RuntimeClass", "nvidia", handler="nvidia"))
    api.put(item("v1", "PersistentVolumeClaim", "shared-models", "art"))
    for name, key in (("registry", ".dockerconfigjson"), ("hub", "token"), ("store", "AWS_SECRET_ACCESS_KEY")):
        api.put(item("v1", "Secret", name, "art", data={key: "c2VjcmV0"}))


def test_a_cluster_that_has_everything_is_told_so(
    api: KubeApi, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    furnish(api)
    (tmp_path / "all.yaml").write_text(MANIFESTS)
    said = says(capsys, "doctor", "--manifests", str(tmp_path / "all.yaml"))
    assert "MISSING" not in said and said.endswith("nothing is missing in namespace art\n")
    assert "8 nvidia.com/gpu on the nodes, 4 are asked for" in said
    assert "c2VjcmV0" not in said and "secret" not in json.dumps(api.sent("POST", "secrets"))
    assert "nothing is missing" in says(capsys, "doctor")


def test_an_empty_cluster_is_told_what_it_lacks_and_how_to_get_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "all.yaml").write_text(MANIFESTS)
    with kube_api(tuple(kind for kind in KINDS if kind.group not in ("ray.io", "monitoring.coreos.com"))) as api:
        monkeypatch.setenv("KUBECONFIG", str(api.kubeconfig(tmp_path, namespace="art")))
        api.put(item("v1", "Secret", "hub", "art", data={"tocen": ""}))
        api.put(item("storage.k8s.io/v1", "StorageClass", "slow", provisioner="p"))
        api.forbidden |= {("create", "rayservices"), ("get", "persistentvolumeclaims")}
        said = says(capsys, "doctor", "--manifests", str(tmp_path / "all.yaml"), code=1)
    for line in (
        "MISSING  kinds RayJob, RayService of ray.io/v1",
        "install KubeRay, with its CRDs: helm install kuberay-operator",
        "MISSING  kinds PodMonitor of monitoring.coreos.com/v1",
        "set metrics.podMonitor.enabled to false",
        "MISSING  KubeRay's operator: no Deployment",
        "MISSING  the right to create RayServices in namespace art",
        "MISSING  nvidia.com/gpu: no node offers any, 4 are asked for",
        "MISSING  storage class fast",
        "there are slow",
        "MISSING  key token in secret hub",
        "it has tocen",
        "MISSING  secret store",
        "kubectl --namespace art create secret generic store",
        "MISSING  RuntimeClass nvidia",
        "unseen   can't look at PersistentVolumeClaim shared-models: persistentvolumeclaims is forbidden",
        "10 missing",
    ):
        assert line in said
