"""What the trainer makes of the chart's template is what the cluster takes and the chart allows."""

from __future__ import annotations

import argparse
import os
from collections.abc import Mapping
from pathlib import Path

import pytest
import yaml

from emofeedback.cli.deploy.needs import needs_of
from emofeedback_trainer.service import server as serving
from emofeedback_trainer.service.backends.kubernetes import JOB_LABEL, filled, load_template
from support.chart_releases import Release
from support.kuberay_crds import KUBERAY_VARIABLE, kuberay_schemas, problems

pytestmark = pytest.mark.helm

NAMES = ("gpu-pools", "production")
"""The examples whose runs are RayJobs."""
WORDS = ["flow-grpo", "--config", "/runs/.service/calm/config.toml", "--out", "/runs/calm"]


@pytest.fixture(params=NAMES)
def release(request: pytest.FixtureRequest, examples: Mapping[str, Release]) -> Release:
    return examples[request.param]


@pytest.fixture
def template(release: Release, tmp_path: Path) -> Path:
    (config,) = [item for item in release.all("ConfigMap") if item["metadata"]["name"].endswith("-rayjob")]
    (tmp_path / "rayjob.yaml").write_text(config["data"]["rayjob.yaml"])
    return tmp_path / "rayjob.yaml"


def test_a_run_is_a_rayjob_that_kuberay_takes(template: Path) -> None:
    folder = os.environ.get(KUBERAY_VARIABLE)
    if not folder:
        pytest.skip(f"{KUBERAY_VARIABLE} names no folder with KubeRay's CustomResourceDefinitions")
    job = filled(load_template(template), name="run-calm-1", run="calm", words=WORDS)
    assert problems(job, kuberay_schemas(Path(folder))["RayJob"]) == []


def test_a_run_can_be_suspended_and_hears_of_its_end(template: Path) -> None:
    job = filled(load_template(template), name="run-calm-1", run="calm", words=WORDS)
    assert job["spec"]["shutdownAfterJobFinishes"] is True  # KubeRay suspends no other
    cluster = job["spec"]["rayClusterSpec"]
    for group in (cluster["headGroupSpec"], *cluster.get("workerGroupSpecs", ())):
        pod = group["template"]
        assert pod["metadata"]["labels"][JOB_LABEL] == "run-calm-1"
        (container,) = pod["spec"]["containers"]
        hook = container["lifecycle"]["preStop"]["exec"]["command"]
        assert hook == ["python", "-m", "emofeedback_trainer.service.prestop"]
        assert pod["spec"]["terminationGracePeriodSeconds"] > 60
        assert "/runs" in [mount["mountPath"] for mount in container["volumeMounts"]]


def test_the_service_is_told_of_the_template_and_may_do_what_it_does(release: Release) -> None:
    (deployment,) = release.all("Deployment")
    (container,) = deployment["spec"]["template"]["spec"]["containers"]
    parser = argparse.ArgumentParser()
    serving.add_arguments(parser)
    asked = parser.parse_args(container["args"][1:])
    (folder,) = [mount["mountPath"] for mount in container["volumeMounts"] if mount["name"] == "jobs"]
    assert (asked.backend, asked.job_template) == ("kubernetes", Path(folder) / "rayjob.yaml")
    (role,) = release.all("Role")
    assert {(resource, verb) for rule in role["rules"] for resource in rule["resources"] for verb in rule["verbs"]} == {
        *(("rayjobs", verb) for verb in ("create", "list", "patch", "delete")),
        ("pods", "list"),
    }


def test_the_doctor_reads_the_needs_of_every_example(examples: Mapping[str, Release]) -> None:
    needs = {name: needs_of(yaml.safe_dump_all(release.objects)) for name, release in examples.items()}
    assert needs["cpu"].secrets == set() and not needs["cpu"].devices
    assert needs["gpu-pools"].secrets == {("hub", "token")} and needs["gpu-pools"].devices["nvidia.com/gpu"] >= 1
    assert needs["production"].claim_templates == {"one-gpu"} and "shared-models" in needs["production"].claims
