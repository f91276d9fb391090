"""What a cluster would refuse is refused when the chart is rendered; all else arrives as it was meant."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import yaml
from hypothesis import example, given, settings
from hypothesis import strategies as st

from support.chart_releases import Manifest, Release
from support.real_helm import HelmRefused

pytestmark = pytest.mark.helm

Install = Callable[..., Release]

DNS_LABEL = re.compile(r"[a-z]([-a-z0-9]*[a-z0-9])?")
LABEL_VALUE = re.compile(r"([A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?)?")
LONGEST_PREFIX = 40
"""KubeRay appends up to 23 characters to a RayService's name, and a label has 63."""

WHOLE = st.integers(1, 2_147_483_647) | st.integers(999_990, 1_000_010) | st.integers(1, 99).map(lambda n: n * 10**7)


# --- numbers ---------------------------------------------------------------------------------------------------------


@settings(max_examples=12)
@given(numbers=st.tuples(*[WHOLE] * 9))
@example(numbers=(1_000_000,) * 9)
@example(numbers=(1_000_000_000,) * 9)
def test_a_whole_number_is_the_same_whole_number_in_every_text(
    installed_anew: Install, numbers: tuple[int, ...]
) -> None:
    ongoing, queued, work, idle, pods, backoff, deadline, kept, size = numbers
    application = {
        "maxOngoingRequests": ongoing,
        "maxQueuedRequests": queued,
        "targetWork": work,
        "minReplicas": 0,
        "maxReplicas": pods,
    }
    release = installed_anew(
        {
            "applications": dict.fromkeys(("generator", "judge", "optimizer"), application),
            "autoscaler": {"idleTimeoutSeconds": idle},
            "pools": {"agent": {"minReplicas": pods, "maxReplicas": pods, "gpu": {"count": pods, "resource": "a.b/c"}}},
            "modelCache": {"enabled": True, "size": size},
            "trainer": {
                "enabled": True,
                "job": {
                    "backoffLimit": backoff,
                    "activeDeadlineSeconds": deadline,
                    "ttlSecondsAfterFinished": kept,
                    "worker": {"replicas": pods, "gpu": {"count": pods}},
                },
            },
        }
    )
    for app in release.serve_config["applications"]:
        scaling = app["args"]["scaling"]
        assert same(scaling["max_ongoing_requests"], ongoing)
        assert same(scaling["max_queued_requests"], queued)
        assert same(scaling["max_replicas"], pods)
        assert same(scaling["target_work"], work)
    cluster = release.one("RayService")["spec"]["rayClusterConfig"]
    assert same(cluster["autoscalerOptions"]["idleTimeoutSeconds"], idle)
    (group,) = cluster["workerGroupSpecs"]
    assert all(same(group[name], pods) for name in ("replicas", "minReplicas", "maxReplicas"))
    assert group["rayStartParams"]["num-gpus"] == str(pods)
    assert same(group["template"]["spec"]["containers"][0]["resources"]["limits"]["a.b/c"], pods)
    (job,) = release.manifests_in_configs()
    found = [job["spec"][name] for name in ("backoffLimit", "activeDeadlineSeconds", "ttlSecondsAfterFinished")]
    assert all(map(same, found, (backoff, deadline, kept)))
    (learners,) = job["spec"]["rayClusterSpec"]["workerGroupSpecs"]
    assert same(learners["replicas"], pods) and learners["rayStartParams"]["num-gpus"] == str(pods)
    claims = {
        item["metadata"]["name"]: item["spec"]["resources"]["requests"] for item in release.all("PersistentVolumeClaim")
    }
    assert same(claims["feel-emofeedback-models"]["storage"], size)


def same(found: Any, meant: int) -> bool:
    """Not even as a float: Ray's and KubeRay's schemas ask for whole numbers."""
    return type(found) is int and found == meant


def test_the_case_of_a_million_queued_requests_says_a_million(installed_anew: Install) -> None:
    release = installed_anew({"applications": {"generator": {"maxQueuedRequests": 1000000}}})
    assert "max_queued_requests: 1000000\n" in release.one("RayService")["spec"]["serveConfigV2"]


@pytest.mark.parametrize("share", [0.00001, 0.5, 1])
def test_a_share_of_traces_is_the_same_share(installed_anew: Install, share: float) -> None:
    release = installed_anew({"tracing": {"endpoint": "http://otel:4318", "sampleRatio": share}})
    told = [
        variable["value"]
        for _, pod in release.pods()
        for variable in pod["containers"][0]["env"]
        if variable["name"] == "OTEL_TRACES_SAMPLER_ARG"
    ]
    assert told and all(float(value) == share and re.fullmatch(r"[0-9.]+", value) for value in told)


# --- names -----------------------------------------------------------------------------------------------------------

NAMES = st.text(alphabet="abz019-._ ABé", min_size=1, max_size=60) | st.sampled_from(
    ["on", "true", "null", "1e6", "123", "my app", "My-App", "a..b", "a--", "x" * 53, "a" * 39 + "--b"]
)


@settings(max_examples=25)
@given(where=st.sampled_from(["nameOverride", "fullnameOverride", "release"]), name=NAMES)
@example(where="nameOverride", name="my app")
@example(where="fullnameOverride", name="on")
@example(where="fullnameOverride", name="123")
@example(where="release", name="my.app")
@example(where="release", name="1e6")
@example(where="release", name="emofeedback-" + "x" * 41)
def test_a_name_is_one_that_kubernetes_takes_or_is_refused_in_words(
    installed_anew: Install, where: str, name: str
) -> None:
    try:
        release = installed_anew({}, name) if where == "release" else installed_anew({where: name})
    except HelmRefused as refused:
        assert where in str(refused) and ("Kubernetes takes" in str(refused) or "release name" in str(refused))
        return
    for item in (*release.objects, *release.hooks):
        assert is_label(item["metadata"]["name"])
    for labels in all_labels([*release.objects, *release.hooks]):
        assert all(isinstance(value, str) and LABEL_VALUE.fullmatch(value) for value in labels.values())
    service = release.one("RayService")
    for found in (service["metadata"]["name"], service["spec"]["serveService"]["metadata"]["name"]):
        assert is_label(found) and len(found) <= LONGEST_PREFIX


def is_label(name: Any) -> bool:
    """Of RFC 1035, as Kubernetes asks of a service's name."""
    return isinstance(name, str) and len(name) <= 63 and DNS_LABEL.fullmatch(name) is not None


def all_labels(part: Any) -> Iterator[Manifest]:
    """Every table of labels."""
    if isinstance(part, dict):
        for key, value in part.items():
            if key in ("labels", "matchLabels"):
                yield value
            yield from all_labels(value)
    elif isinstance(part, list):
        for value in part:
            yield from all_labels(value)


def test_an_existing_object_may_have_a_name_that_yaml_reads_as_something_else(installed_anew: Install) -> None:
    release = installed_anew(
        {
            "apiToken": {"existingSecret": "123", "key": "true"},
            "store": {"existingSecret": "1e6"},
            "modelCache": {"enabled": True, "existingClaim": "null"},
            "head": {"priorityClassName": "on"},
            "profile": {"name": "1"},
        }
    )
    pod = release.one("RayService")["spec"]["rayClusterConfig"]["headGroupSpec"]["template"]["spec"]
    (container,) = pod["containers"]
    (token,) = (entry for entry in container["env"] if entry["name"] == "EMOFEEDBACK_TOKEN")
    assert token["valueFrom"]["secretKeyRef"] == {"name": "123", "key": "true"}
    assert container["envFrom"] == [{"secretRef": {"name": "1e6"}}]
    assert {"name": "models", "persistentVolumeClaim": {"claimName": "null"}} in pod["volumes"]
    assert pod["priorityClassName"] == "on"
    assert {app["args"]["profile"] for app in release.serve_config["applications"]} == {"1"}


# --- all else ------------------------------------------------------------------------------------------------------


REFUSED: list[tuple[Manifest, list[str]]] = [
    ({"ports": {"grpc": 0}}, ["ports", "grpc"]),
    ({"ports": {"grpc": 65536}}, ["ports", "grpc"]),
    ({"ports": {"http": 9000}}, ["ports.http is 9000", "ports.grpc already"]),
    ({"ports": {"grpc": 8265}}, ["ports.grpc is 8265", "Ray's dashboard"]),
    ({"ports": {"grpc": 8080}}, ["ports.grpc is 8080", "metrics"]),
    ({"trainer": {"enabled": True, "port": 9101}}, ["trainer.port is 9101", "metrics"]),
    ({"head": {"resources": {"requests": {"memory": "8Gi"}}}}, ["head.resources.requests.memory", "8Gi", "4Gi"]),
    (
        {"pools": {"agent": {"resources": {"limits": {"cpu": "1900m"}}}}},
        ["pools.agent.resources.requests.cpu", "1900m"],
    ),
    ({"pools": {"agent": {"resources": {"limits": {"memory": 6000000000}}}}}, ["pools.agent", "6000000000"]),
    ({"modelCache": {"size": "100 Gi"}}, ["modelCache", "size"]),
    ({"modelCache": {"size": -1}}, ["modelCache", "size"]),
    ({"modelCache": {"existingClaim": "My Claim"}}, ["modelCache", "existingClaim"]),
    ({"modelCache": {"existingClaim": "a..b"}}, ["modelCache", "existingClaim"]),
    ({"modelCache": {"accessModes": ["ReadWriteOnce", "ReadWriteOnce"]}}, ["modelCache", "accessModes"]),
    ({"apiToken": {"existingSecret": "api", "key": "my key"}}, ["apiToken", "key"]),
    ({"image": {"pullSecrets": [{"name": "My_Secret"}]}}, ["image", "pullSecrets"]),
    ({"image": {"repository": "Registry/My Image"}}, ["image", "repository"]),
    ({"image": {"tag": "-1"}}, ["image", "tag"]),
    ({"head": {"nodeSelector": {"zone": "west coast"}}}, ["head", "nodeSelector", "zone"]),
    ({"head": {"nodeSelector": {"my zone": "west"}}}, ["head", "nodeSelector", "my zone"]),
    ({"head": {"nodeSelector": {"zone": "x" * 64}}}, ["head", "nodeSelector", "zone"]),
    ({"metrics": {"podMonitor": {"labels": {"release": "the one"}}}}, ["podMonitor", "labels", "release"]),
    ({"metrics": {"podMonitor": {"labels": {"app.kubernetes.io/name": "x"}}}}, ["podMonitor", "labels"]),
    ({"service": {"annotations": {"an annotation": "x"}}}, ["service", "annotations"]),
    ({"route": {"hostnames": ["My.Host"]}}, ["route", "hostnames"]),
    ({"route": {"hostnames": ["a.example:443"]}}, ["route", "hostnames"]),
    ({"route": {"hostnames": ["a.example", "a.example"]}}, ["route", "hostnames"]),
    ({"route": {"gateway": {"namespace": "a.b"}}}, ["route", "gateway", "namespace"]),
    ({"pools": {"agent": {"gpu": {"resource": "my gpu"}}}}, ["pools", "agent", "gpu", "resource"]),
    ({"pools": {"agent": {"resourceClaims": [{"name": "gpu"}]}}}, ["pools", "agent", "resourceClaims"]),
    ({"pools": {"agent": {"maxReplicas": 2**31}}}, ["pools", "agent", "maxReplicas"]),
    ({"trainer": {"job": {"activeDeadlineSeconds": 2**31}}}, ["trainer", "job", "activeDeadlineSeconds"]),
    ({"trainer": {"runs": {"mountPath": "/tmp"}}}, ["trainer", "runs", "mountPath"]),
    ({"trainer": {"runs": {"mountPath": "/my runs"}}}, ["trainer", "runs", "mountPath"]),
    ({"applications": {"judge": {"maxQueuedRequests": 1.5}}}, ["applications", "judge", "maxQueuedRequests"]),
    ({"applications": {"judge": {"maxReplica": 2}}}, ["applications", "judge", "maxReplica"]),
]


SD35 = {"name": "sd35-medium"}
MINE = """
extends = 'sd35-medium'
[judge]
device = "cpu" # slowly
engine = "transformers"
[serving.generator]
cpus = 2.0
gpus = 2.0
[serving.judge]
gpus = 0.0
"""
GPU_POOL = {"enabled": True, "gpu": {"count": 1}}
WITHOUT_GPUS: list[tuple[Manifest, str]] = [
    ({"profile": SD35}, "generator takes 1 GPU by the profile sd35-medium .* no pool .* see pools.generator.enabled"),
    (
        {"profile": SD35, "pools": {"generator": GPU_POOL}, "applications": {"judge": {"pool": "agent"}}},
        "judge takes 1 GPU .* a pod of pools.agent has fewer: see .* pools.agent.gpu",
    ),
    (
        {"profile": SD35, "pools": {"generator": GPU_POOL}, "applications": {"judge": {"gpus": 0}}},
        "sd35-medium runs the judge on a GPU, and a replica of it is given none: set applications.judge.gpus",
    ),
    ({"applications": {"generator": {"gpus": 0.5}}}, "generator takes 0.5 GPU by .* applications.generator.gpus"),
    ({"profile": {"inline": '[generator]\ndevice = "cuda"\n'}}, "profile.toml runs the generator on a GPU"),
    ({"profile": {"inline": 'extends = "sd35-medium"\n'}}, "generator takes 1 GPU by the profile .*profile.toml"),
    ({"profile": {"inline": MINE}, "pools": {"generator": GPU_POOL}}, "generator takes 2.0 GPU .*profile.toml"),
]


def test_guarded_health_without_a_token_is_refused(installed_anew: Install) -> None:
    with pytest.raises(HelmRefused, match=r"guardsHealth needs a token.*apiToken\.existingSecret"):
        installed_anew({"apiToken": {"guardsHealth": True}})


@pytest.mark.parametrize(("values", "words"), WITHOUT_GPUS)
def test_a_profile_for_gpus_on_pods_without_is_refused_in_words(
    installed_anew: Install, values: Manifest, words: str
) -> None:
    with pytest.raises(HelmRefused, match=words):
        installed_anew(values)


def test_a_profile_of_ones_own_may_need_other_gpus_than_the_one_that_it_extends(installed_anew: Install) -> None:
    pools = {"generator": {**GPU_POOL, "gpu": {"count": 2}}}
    release = installed_anew({"profile": {"inline": MINE}, "pools": pools})
    assert all("scaling" not in app["args"] for app in release.serve_config["applications"])


def test_a_profile_in_the_image_is_taken_at_its_word(installed_anew: Install) -> None:
    release = installed_anew({"profile": {"name": "/profiles/mine.toml"}})
    assert {app["args"]["profile"] for app in release.serve_config["applications"]} == {"/profiles/mine.toml"}


@pytest.mark.parametrize(
    ("values", "words"), REFUSED, ids=[yaml.safe_dump(values).split()[-1] for values, _ in REFUSED]
)
def test_what_a_cluster_refuses_is_refused_with_its_place(
    installed_anew: Install, values: Manifest, words: list[str]
) -> None:
    with pytest.raises(HelmRefused) as refused:
        installed_anew(values)
    for word in words:
        assert word in str(refused.value)
