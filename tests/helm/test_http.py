"""The HTTP API in the chart: off by default, behind the same gateway under names of its own."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from emofeedback.serving.config import serve_config
from emofeedback.serving.http_app import HttpArgs
from support.chart_releases import Release
from support.real_helm import HelmRefused

pytestmark = pytest.mark.helm

Install = Callable[..., Release]
GATEWAY = {
    "type": "grpcroute",
    "hostnames": ["grpc.feel.example"],
    "tlsSecret": "tls",
    "gateway": {"className": "any"},
}
NAMES = {"enabled": True, "hostnames": ["feel.example"]}


def test_it_is_the_application_that_serve_runs_elsewhere(install: Install) -> None:
    config = install(http={"enabled": True, "origins": ["https://app.example"]}).serve_config
    arguments = {"replicas": 1, "calls_per_minute": 600, "origins": ["https://app.example"]}
    assert config == serve_config("nano", http=arguments)
    HttpArgs.model_validate(config["applications"][-1]["args"])


def test_behind_a_gateway_it_has_a_listener_and_a_route_for_what_is_meant_for_outside(install: Install) -> None:
    release = install(http=NAMES, route=GATEWAY, networkPolicy={"gatewayPeers": [{"podSelector": {}}]})
    route = release.one("HTTPRoute")
    assert route["spec"]["hostnames"] == ["feel.example"]
    paths = [match["path"]["value"] for match in route["spec"]["rules"][0]["matches"]]
    assert paths == ["/v1", "/healthz", "/openapi.json"]
    listeners = release.one("Gateway")["spec"]["listeners"]
    assert [listener["hostname"] for listener in listeners] == ["grpc.feel.example", "feel.example"]
    admitted = release.one("NetworkPolicy")["spec"]["ingress"][1]["ports"]
    assert [port["port"] for port in admitted] == ["serve-grpc", "serve"]


def test_behind_an_ingress_it_has_one_of_its_own(install: Install) -> None:
    route = {"type": "ingress", "hostnames": ["grpc.feel.example"], "tlsSecret": "tls"}
    release = install(http=NAMES, route=route)
    hosts = [m["spec"]["rules"][0]["host"] for m in release.all("Ingress")]
    assert sorted(hosts) == ["feel.example", "grpc.feel.example"]


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"http": {"enabled": True}, "route": GATEWAY}, "http.hostnames is needed"),
        ({"http": {"enabled": True, "hostnames": ["grpc.feel.example"]}, "route": GATEWAY}, "names of its own"),
        ({"http": {"enabled": True, "pool": "judge"}}, "pools.judge.enabled is false"),
        ({"http": {"replicas": 0}}, "replicas"),
    ],
)
def test_what_could_not_work_is_refused(install: Install, values: dict[str, Any], words: str) -> None:
    with pytest.raises(HelmRefused, match=words):
        install(**values)
