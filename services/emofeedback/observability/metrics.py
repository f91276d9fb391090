"""What the services can be watched by: Prometheus metrics in the field's units. This table is their only home.

`IMAGES.record(1, kind="picture")` counts, sets or observes, whatever the metric is. It goes nowhere until the process
has said where to:

    export_through_ray()                          a Ray Serve replica: Ray's agent exports it beside its own
    with export_over_http("127.0.0.1", 9101): ... any other process: a page of its own, at /metrics

Ray puts `ray_` before a name and the replica's labels beside ours. Of a histogram its agent hears the buckets only, so
there `_sum` is an estimate and a mean made of it is wrong; quantiles hold.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal

from emofeedback.domain.errors import FailedPrecondition

_PREFIX = "emofeedback_"
_RAY_PREFIX = "ray_"
_VERBS = {"counter": "inc", "gauge": "set", "histogram": "observe"}
"""What both exporters call it."""
_RETELL_SECONDS = 5.0
"""Prometheus scrapes every 15 to 60."""


@dataclass(frozen=True, kw_only=True)
class Metric:
    """One quantity."""

    name: str
    """Without the prefix and, of a counter, without the `_total` that Prometheus puts behind it."""
    kind: Literal["counter", "gauge", "histogram"]
    description: str
    labels: tuple[str, ...] = ()
    buckets: tuple[float, ...] = ()
    """Upper bounds of a histogram's buckets."""

    @property
    def full_name(self) -> str:
        """As exporters are told it."""
        return _PREFIX + self.name

    def series(self, *, ray: bool) -> tuple[str, ...]:
        """The names under which Prometheus finds it, scraped from Ray's agent or from a page of our own."""
        endings = {"counter": ("_total",), "gauge": ("",), "histogram": ("_bucket", "_count", "_sum")}[self.kind]
        return tuple((_RAY_PREFIX if ray else "") + self.full_name + ending for ending in endings)

    def record(self, value: float, **labels: str) -> None:
        """Adds to a counter, sets a gauge, observes in a histogram; from any thread. All labels must be given."""
        if _exporter is not None:
            _exporter(self, value, labels)


Exporter = Callable[[Metric, float, Mapping[str, str]], None]

_exporter: Exporter | None = None

# --- every service --------------------------------------------------------------------------------------------------

CALL_SECONDS = Metric(
    name="call_seconds",
    kind="histogram",
    description="Seconds from a call's arrival to its end, a stream's to its last event, by RPC and gRPC status code",
    labels=("method", "code"),
    buckets=(0.01, 0.03, 0.1, 0.3, 1, 3, 10, 30, 100, 300, 1000),
)
QUEUE_LENGTH = Metric(
    name="queue_length",
    kind="gauge",
    description="Pictures and trajectories (generator) or ratings, latent ratings, reasonings, choices, answers, "
    "descriptions, conversations and subjects to reason about (judge) that were asked for and are not finished, by "
    "class",
    labels=("kind",),
)
GPU_MEMORY = Metric(
    name="gpu_memory_bytes",
    kind="gauge",
    description="Memory of the replica's GPU, used (by whomever) and total",
    labels=("state",),
)

# --- generator ------------------------------------------------------------------------------------------------------

IMAGES = Metric(
    name="images", kind="counter", description="Images painted, by class: picture or trajectory", labels=("kind",)
)
IMAGE_STEPS = Metric(
    name="image_steps", kind="counter", description="Denoising steps done, each image of the batch counted"
)
STEP_SECONDS = Metric(
    name="step_seconds",
    kind="histogram",
    description="Seconds of one denoising step of the batch, with the decoding of what it finished",
    buckets=(0.003, 0.01, 0.02, 0.03, 0.05, 0.07, 0.1, 0.15, 0.2, 0.3, 0.5, 1, 3, 10),
)
COMPILE_FAILURES = Metric(
    name="compile_failures",
    kind="counter",
    description="Times that the transformer's blocks could not be compiled; the replica then paints slower",
)
POLICY_IN_USE = Metric(
    name="policy_in_use",
    kind="gauge",
    description="1 for the policy versions that the replica paints with, or painted with last; 0 for those before",
    labels=("policy", "digest"),
)

# --- judge ----------------------------------------------------------------------------------------------------------

JUDGE_TOKENS = Metric(
    name="judge_tokens",
    kind="counter",
    description="Tokens of the vision-language model: read (texts and pictures) and written",
    labels=("direction",),
)
REPLIES = Metric(
    name="replies",
    kind="counter",
    description="Replies of the vision-language model that something was to be read from: rating, latent (a rating "
    "behind reasoning tokens), reasoning, choice (of an option), answer (to an open question), description, reason "
    "(emotion tokens; in the judge), analysis, rewrite (in the optimizer)",
    labels=("kind",),
)
PARSE_FAILURES = Metric(
    name="parse_failures",
    kind="counter",
    description="Replies that could not be read, even after repair",
    labels=("kind",),
)

# --- optimizer ------------------------------------------------------------------------------------------------------

OPTIMIZATIONS = Metric(
    name="optimizations",
    kind="counter",
    description="Finished runs of the loop, by why they stopped",
    labels=("stopped_because",),
)
ROUNDS_TO_TOLERANCE = Metric(
    name="rounds_to_tolerance",
    kind="histogram",
    description="Rounds that a run took to come within the asked tolerance; runs that did not are not in it",
    buckets=(1, 2, 3, 4, 5, 6, 8, 10, 15, 20),
)
ANSWER_ERROR = Metric(
    name="answer_error",
    kind="histogram",
    description="|dV| + |dA| of the answer of a finished run, in points of the 1-9 scale",
    buckets=(0.25, 0.5, 0.75, 1, 1.5, 2, 3, 4, 6, 8, 16),
)

# --- trainer --------------------------------------------------------------------------------------------------------

TRAINING_RUNS = Metric(
    name="training_runs", kind="gauge", description="Training runs of the service, by state", labels=("state",)
)
TRAINING_TENDED = Metric(
    name="training_tended_timestamp_seconds",
    kind="gauge",
    description="When the service last looked after its runs; seconds since the epoch, alarming once a minute old",
)
TRAINING_FAULTS = Metric(
    name="training_faults", kind="counter", description="Times that a run, or all of them, could not be looked after"
)
TRAINING_ITERATION = Metric(
    name="training_iteration", kind="gauge", description="Finished iterations of a training run", labels=("run",)
)
TRAINING_FIGURE = Metric(
    name="training_figure",
    kind="gauge",
    description="What a training run last wrote, by the figure's name: of its rollout, or of its held-out panel",
    labels=("run", "source", "figure"),
)

METRICS = (
    *(CALL_SECONDS, QUEUE_LENGTH, GPU_MEMORY),
    *(IMAGES, IMAGE_STEPS, STEP_SECONDS, POLICY_IN_USE, COMPILE_FAILURES),
    *(JUDGE_TOKENS, REPLIES, PARSE_FAILURES),
    *(OPTIMIZATIONS, ROUNDS_TO_TOLERANCE, ANSWER_ERROR),
    *(TRAINING_RUNS, TRAINING_TENDED, TRAINING_FAULTS, TRAINING_ITERATION, TRAINING_FIGURE),
)


def export(exporter: Exporter | None) -> None:
    """From now on, whatever this process records goes there; None: nowhere."""
    global _exporter
    _exporter = exporter


def export_through_ray() -> None:
    """For a replica, from its constructor: Ray adds the labels application, deployment and replica.

    Ray's agent drops a gauge that isn't set again for a while, so the last values are told every few seconds.
    """
    from ray.serve import metrics as ray_metrics

    kinds = {"counter": ray_metrics.Counter, "gauge": ray_metrics.Gauge, "histogram": ray_metrics.Histogram}
    made: dict[str, Any] = {}
    for metric in METRICS:
        bounds = {"boundaries": list(metric.buckets)} if metric.buckets else {}
        made[metric.name] = kinds[metric.kind](
            metric.full_name, description=metric.description, tag_keys=metric.labels, **bounds
        )

    gauges: dict[tuple[str, tuple[tuple[str, str], ...]], float] = {}

    def record(metric: Metric, value: float, labels: Mapping[str, str]) -> None:
        if metric.kind == "gauge":
            gauges[metric.name, tuple(labels.items())] = value
        if value or metric.kind != "counter":  # Ray refuses to add nothing
            getattr(made[metric.name], _VERBS[metric.kind])(value, tags=dict(labels))

    def tell_again() -> None:
        while True:
            time.sleep(_RETELL_SECONDS)
            for (name, labels), value in list(gauges.items()):
                made[name].set(value, tags=dict(labels))

    threading.Thread(target=tell_again, name="gauges", daemon=True).start()
    export(record)


def export_to_page() -> Callable[[], bytes]:
    """From now on this process's metrics stand on a page, beside where they went before; returns what gives it."""
    from prometheus_client import CollectorRegistry, generate_latest

    registry, before = CollectorRegistry(), _exporter
    to_registry = _into(registry)

    def record(metric: Metric, value: float, labels: Mapping[str, str]) -> None:
        to_registry(metric, value, labels)
        if before is not None:
            before(metric, value, labels)

    export(record)
    return lambda: generate_latest(registry)


@contextmanager
def export_over_http(host: str, port: int) -> Iterator[int]:
    """A page of this process's metrics for as long as the context lasts; yields its port, of which 0 takes a free one.

    Raises:
        FailedPrecondition: the port is taken.
    """
    from prometheus_client import CollectorRegistry, start_http_server

    registry = CollectorRegistry()
    record = _into(registry)
    try:
        server, thread = start_http_server(port, addr=host, registry=registry)
    except OSError as error:
        raise FailedPrecondition(f"port {port} on {host} can't be used for metrics ({error.strerror})") from error
    export(record)
    try:
        yield server.server_port
    finally:
        export(None)
        server.shutdown()
        server.server_close()
        thread.join()


def _into(registry: Any) -> Exporter:
    """Records into a `prometheus_client.CollectorRegistry`."""
    from prometheus_client import Counter, Gauge, Histogram

    kinds = {"counter": Counter, "gauge": Gauge, "histogram": Histogram}
    made: dict[str, Any] = {}
    for metric in METRICS:
        bounds: dict[str, Any] = {"buckets": metric.buckets} if metric.buckets else {}
        made[metric.name] = kinds[metric.kind](
            metric.full_name, metric.description, metric.labels, registry=registry, **bounds
        )

    def record(metric: Metric, value: float, labels: Mapping[str, str]) -> None:
        series = made[metric.name].labels(**labels) if metric.labels else made[metric.name]
        getattr(series, _VERBS[metric.kind])(value)

    return record
