"""What an operator asks for in the values is where it belongs in the objects."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from emofeedback.domain.limits import LIMITS
from support.chart_releases import CHART, Manifest, Release

pytestmark = pytest.mark.helm


def cluster(release: Release) -> Manifest:
    """The RayCluster inside the RayService."""
    found: Manifest = release.one("RayService")["spec"]["rayClusterConfig"]
    return found


def pool(release: Release, name: str) -> Manifest:
    """One worker group."""
    (group,) = (group for group in cluster(release)["workerGroupSpecs"] if group["groupName"] == name)
    return group  # type: ignore[no-any-return]


def environment(container: Manifest) -> dict[str, Manifest]:
    """A container's variables by name."""
    return {entry["name"]: entry for entry in container["env"]}


def test_redis_keeps_the_clusters_state_and_its_password_comes_from_a_secret(examples: Mapping[str, Release]) -> None:
    assert cluster(examples["production"])["gcsFaultToleranceOptions"] == {
        "redisAddress": "redis.redis.svc.cluster.local:6379",
        "redisPassword": {"valueFrom": {"secretKeyRef": {"name": "emofeedback-redis", "key": "redis-password"}}},
    }
    assert "gcsFaultToleranceOptions" not in cluster(examples["cpu"])


def test_tokens_and_the_stores_credentials_come_from_existing_secrets(examples: Mapping[str, Release]) -> None:
    release = examples["production"]
    for where, pod in release.pods():
        (container,) = pod["containers"]
        variables = environment(container)
        token = variables["EMOFEEDBACK_TOKEN"]["valueFrom"]["secretKeyRef"]
        assert token == {"name": "emofeedback-api", "key": "token"}, where
        if where.startswith("Pod/"):
            assert "HF_TOKEN" not in variables, "the test needs no model"
            continue
        assert variables["HF_TOKEN"]["valueFrom"]["secretKeyRef"] == {"name": "emofeedback-hub", "key": "token"}
        assert container["envFrom"] == [{"secretRef": {"name": "emofeedback-store"}}], where
    (generator, judge, _) = release.serve_config["applications"]
    assert generator["args"]["policies"] == "s3://emofeedback/policies"
    assert "policies" not in judge["args"]


def test_health_checks_bring_the_token_where_they_are_told_to(install: Callable[..., Release]) -> None:
    release = install("production", apiToken={"guardsHealth": True})
    for where, pod in release.pods():
        if not where.startswith("Pod/"):  # the test is a caller
            assert environment(pod["containers"][0])["EMOFEEDBACK_HEALTH"]["value"] == "guarded", where


def test_a_pool_has_its_gpus_its_nodes_and_its_runtime(examples: Mapping[str, Release]) -> None:
    group = pool(examples["gpu-pools"], "generator")
    pod = group["template"]["spec"]
    resources = pod["containers"][0]["resources"]
    assert resources["limits"]["nvidia.com/gpu"] == resources["requests"]["nvidia.com/gpu"] == 1
    assert group["rayStartParams"]["num-gpus"] == "1"
    assert pod["runtimeClassName"] == "nvidia"
    assert pod["nodeSelector"] == {"nvidia.com/gpu.product": "NVIDIA-L40S"}
    assert pod["tolerations"] == [{"key": "nvidia.com/gpu", "operator": "Exists", "effect": "NoSchedule"}]
    agent = pool(examples["gpu-pools"], "agent")["template"]["spec"]
    assert not {"runtimeClassName", "nodeSelector", "tolerations"} & agent.keys()


def test_a_pool_may_take_its_gpus_by_claims_on_devices(examples: Mapping[str, Release]) -> None:
    group = pool(examples["production"], "judge")
    pod = group["template"]["spec"]
    assert pod["resourceClaims"] == [{"name": "gpu", "resourceClaimTemplateName": "one-gpu"}]
    assert pod["containers"][0]["resources"]["claims"] == [{"name": "gpu"}]
    assert not any("gpu" in name for name in pod["containers"][0]["resources"]["limits"])
    assert group["rayStartParams"]["num-gpus"] == "1", "Ray sees no GPU in a claim, it must be told"


def test_any_device_plugins_resource_may_be_named(install: Callable[..., Release]) -> None:
    gpu = {"count": 2, "resource": "amd.com/gpu"}
    release = install("gpu-pools", pools={"generator": {"gpu": gpu}})
    limits = pool(release, "generator")["template"]["spec"]["containers"][0]["resources"]["limits"]
    assert limits["amd.com/gpu"] == 2 and "nvidia.com/gpu" not in limits


def test_the_head_runs_no_replica_and_the_autoscaler_is_the_second_one(examples: Mapping[str, Release]) -> None:
    found = cluster(examples["gpu-pools"])
    assert found["headGroupSpec"]["rayStartParams"]["num-cpus"] == "0"
    assert found["enableInTreeAutoscaling"] is True
    assert found["autoscalerOptions"]["version"] == "v2"
    assert examples["gpu-pools"].all("HorizontalPodAutoscaler") == []


def test_the_pools_are_large_enough_for_the_replicas_they_are_for(
    examples: Mapping[str, Release], tmp_path: Path
) -> None:
    for release in (examples["gpu-pools"], examples["production"]):
        for options in release.options(tmp_path).values():
            group = pool(release, options["ray_actor_options"]["label_selector"]["emofeedback.io/pool"])
            assert group["maxReplicas"] >= options["autoscaling_config"]["max_replicas"]


@pytest.mark.parametrize(("enabled", "mode"), [(True, "token"), (False, "disabled")])
def test_rays_own_ports_ask_for_a_token_unless_the_operator_says_no(
    install: Callable[..., Release], enabled: bool, mode: str
) -> None:
    release = install("gpu-pools", rayAuthentication={"enabled": enabled})
    (job,) = release.manifests_in_configs()
    for found in (cluster(release), job["spec"]["rayClusterSpec"]):
        assert found["authOptions"] == {"mode": mode}
        told = environment(found["headGroupSpec"]["template"]["spec"]["containers"][0]).get("RAY_AUTH_MODE")
        assert told == (None if enabled else {"name": "RAY_AUTH_MODE", "value": "disabled"})  # KubeRay sets the token's


def test_an_inline_profile_is_a_file_in_every_ray_pod_and_the_applications_name_it(
    examples: Mapping[str, Release],
) -> None:
    release = examples["single-gpu"]
    (config,) = release.all("ConfigMap")
    assert 'extends = "sd35-medium"' in config["data"]["profile.toml"]
    assert {app["args"]["profile"] for app in release.serve_config["applications"]} == {"/etc/emofeedback/profile.toml"}
    for group in (cluster(release)["headGroupSpec"], *cluster(release)["workerGroupSpecs"]):
        pod = group["template"]["spec"]
        assert {"name": "profile", "configMap": {"name": config["metadata"]["name"]}} in pod["volumes"]
        mounts = {mount["name"]: mount["mountPath"] for mount in pod["containers"][0]["volumeMounts"]}
        assert mounts["profile"] == "/etc/emofeedback"


def test_models_are_kept_on_a_volume_that_outlives_the_release(examples: Mapping[str, Release]) -> None:
    (claim,) = (
        c for c in examples["gpu-pools"].all("PersistentVolumeClaim") if c["metadata"]["name"].endswith("-models")
    )
    assert claim["metadata"]["annotations"]["helm.sh/resource-policy"] == "keep"
    pod = pool(examples["gpu-pools"], "judge")["template"]["spec"]
    volume = {"name": "models", "persistentVolumeClaim": {"claimName": claim["metadata"]["name"]}}
    assert volume in pod["volumes"]
    assert environment(pod["containers"][0])["HF_HOME"]["value"] == "/models"


def test_an_existing_claim_is_taken_instead(examples: Mapping[str, Release]) -> None:
    names = [claim["metadata"]["name"] for claim in examples["production"].all("PersistentVolumeClaim")]
    assert names == ["feel-emofeedback-runs"]
    volumes = pool(examples["production"], "judge")["template"]["spec"]["volumes"]
    assert {"name": "models", "persistentVolumeClaim": {"claimName": "shared-models"}} in volumes


def test_the_gateway_ends_tls_and_tells_serve_which_application_is_meant(examples: Mapping[str, Release]) -> None:
    release = examples["production"]
    (listener,) = release.one("Gateway")["spec"]["listeners"]
    assert listener["protocol"] == "HTTPS"
    assert listener["tls"] == {"mode": "Terminate", "certificateRefs": [{"name": "emofeedback-tls"}]}
    route = release.one("GRPCRoute")["spec"]
    assert route["hostnames"] == ["emofeedback.example.com"]
    told = {
        rule["matches"][0]["method"]["service"].rpartition(".")[2]: [
            header["value"] for item in rule.get("filters", ()) for header in item["requestHeaderModifier"]["set"]
        ]
        for rule in route["rules"]
    }
    assert told == {
        "GeneratorService": ["generator"],
        "JudgeService": ["judge"],
        "PromptOptimizerService": ["optimizer"],
        "TrainerService": [],
    }
    serve = release.one("RayService")["spec"]["serveService"]
    backends = {backend["name"]: backend["port"] for rule in route["rules"] for backend in rule["backendRefs"]}
    assert backends == {serve["metadata"]["name"]: 9000, f"{serve['metadata']['name']}-trainer": 9100}


def test_a_gateway_of_ones_own_is_taken_instead(install: Callable[..., Release]) -> None:
    route = {
        "type": "grpcroute",
        "hostnames": ["a.example"],
        "gateway": {"name": "shared", "namespace": "edge", "sectionName": "https"},
    }
    release = install(route=route)
    assert release.all("Gateway") == []
    assert release.one("GRPCRoute")["spec"]["parentRefs"] == [
        {"name": "shared", "namespace": "edge", "sectionName": "https"}
    ]


def test_an_ingress_speaks_grpc_to_us_and_tls_to_callers(install: Callable[..., Release]) -> None:
    route = {"type": "ingress", "hostnames": ["a.example"], "tlsSecret": "tls", "trainer": True}
    ingress = install(route=route, trainer={"enabled": True}).one("Ingress")
    annotations = ingress["metadata"]["annotations"]
    assert annotations["nginx.ingress.kubernetes.io/backend-protocol"] == "GRPC"
    assert annotations["nginx.ingress.kubernetes.io/proxy-body-size"] == f"{LIMITS.message_bytes // 2**20}m"
    assert ingress["spec"]["tls"] == [{"secretName": "tls", "hosts": ["a.example"]}]
    paths = ingress["spec"]["rules"][0]["http"]["paths"]
    assert [(path["path"], path["backend"]["service"]["port"]["number"]) for path in paths] == [
        ("/emofeedback.v1.TrainerService/", 9100),
        ("/", 9000),
    ]


def test_the_gateway_reaches_grpc_only_and_the_operator_the_heads_door(examples: Mapping[str, Release]) -> None:
    _, gateway, operator, metrics = examples["production"].one("NetworkPolicy")["spec"]["ingress"]
    assert gateway["from"][0]["namespaceSelector"]["matchLabels"] == {
        "kubernetes.io/metadata.name": "envoy-gateway-system"
    }
    assert [port["port"] for port in gateway["ports"]] == ["serve-grpc", 9100]
    assert [port["port"] for port in operator["ports"]] == ["dashboard", "serve"]
    assert [port["port"] for port in metrics["ports"]] == ["metrics"]


def test_a_drain_takes_one_pod_at_a_time_and_the_head_only_where_redis_remembers(
    examples: Mapping[str, Release],
) -> None:
    def budgets(release: Release) -> dict[str, int]:
        return {
            item["spec"]["selector"]["matchLabels"]["app.kubernetes.io/component"]: item["spec"]["maxUnavailable"]
            for item in release.all("PodDisruptionBudget")
        }

    assert budgets(examples["gpu-pools"]) == {"head": 0, "agent": 1, "generator": 1, "judge": 1}
    assert budgets(examples["production"]) == {"head": 1, "agent": 1, "generator": 1, "judge": 1}


def test_prometheus_scrapes_every_pod_that_has_metrics(examples: Mapping[str, Release]) -> None:
    release = examples["production"]
    monitor = release.one("PodMonitor")
    assert monitor["metadata"]["labels"]["release"] == "prometheus"
    (endpoint,) = monitor["spec"]["podMetricsEndpoints"]
    selected = monitor["spec"]["selector"]["matchLabels"].items()
    groups = [cluster(release)["headGroupSpec"], *cluster(release)["workerGroupSpecs"]]
    templates = [group["template"] for group in groups] + [release.one("Deployment")["spec"]["template"]]
    for template in templates:
        assert selected <= template["metadata"]["labels"].items()
        assert endpoint["port"] in {port["name"] for port in template["spec"]["containers"][0]["ports"]}


def test_every_dashboard_of_the_chart_is_handed_to_grafana_as_it_is(examples: Mapping[str, Release]) -> None:
    files = sorted((CHART / "dashboards").glob("*.json"))
    assert files
    dashboards = {
        name: text
        for config in examples["production"].all("ConfigMap")
        if config["metadata"]["labels"].get("grafana_dashboard") == "1"
        for name, text in config["data"].items()
    }
    assert dashboards.keys() == {path.name for path in files}
    for path in files:
        assert dashboards[path.name].strip() == path.read_text().strip()


def test_traces_go_where_the_operator_says_and_nowhere_by_default(examples: Mapping[str, Release]) -> None:
    variables = environment(pool(examples["production"], "agent")["template"]["spec"]["containers"][0])
    assert variables["OTEL_EXPORTER_OTLP_ENDPOINT"]["value"] == "http://otel-collector.monitoring:4318"
    assert variables["OTEL_TRACES_SAMPLER_ARG"]["value"] == "1"
    for _, pod in examples["cpu"].pods():
        assert not any(name.startswith("OTEL_") for name in environment(pod["containers"][0]))


def test_a_job_asks_for_the_trainers_gpus_and_writes_where_the_trainer_reads(examples: Mapping[str, Release]) -> None:
    release = examples["gpu-pools"]
    (job,) = release.manifests_in_configs()
    assert job["kind"] == "RayJob"
    (learners,) = job["spec"]["rayClusterSpec"]["workerGroupSpecs"]
    assert learners["template"]["spec"]["containers"][0]["resources"]["limits"]["nvidia.com/gpu"] == 1
    trainer = release.one("Deployment")["spec"]["template"]["spec"]
    (runs,) = (volume for volume in trainer["volumes"] if volume["name"] == "runs")
    assert runs in learners["template"]["spec"]["volumes"]


@pytest.mark.parametrize("name", ["cpu", "gpu-pools"])
def test_rays_object_store_fits_in_the_shared_memory_of_its_pod(examples: Mapping[str, Release], name: str) -> None:
    release = examples[name]
    clusters = [cluster(release), *(job["spec"]["rayClusterSpec"] for job in release.manifests_in_configs())]
    for group in (group for found in clusters for group in (found["headGroupSpec"], *found["workerGroupSpecs"])):
        (volume,) = (v for v in group["template"]["spec"]["volumes"] if v["name"] == "shared-memory")
        mebibytes = int(volume["emptyDir"]["sizeLimit"].removesuffix("Mi"))
        assert int(group["rayStartParams"]["object-store-memory"]) < mebibytes * 1024 * 1024
