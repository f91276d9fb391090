"""Replicas that follow the work: quiet, busy, quiet again, with the nano profile on fractions of cores: `make traffic`.

Writes the plot and prints the figures of each phase. Ends with 1 where a call failed, where the generator's replicas
did not go from one to two and back, or where the judge's did not come from none and go again.
"""

from __future__ import annotations

import argparse
import asyncio
import io
import itertools
import os
import sys
import tempfile
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from statistics import mean
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))

from emofeedback import AsyncClient
from emofeedback.serving.local import local_services
from emofeedback_trainer.nano.world.rendering import render
from emofeedback_trainer.nano.world.scenes import sample_scene
from support.running_services import Tally, painting

STEPS = 14
TARGET_WORK = 160.0
"""Image-steps that one replica should have."""
PROFILE = f"""
extends = "nano"
[serving.generator]
max_replicas = 2
target_work = {TARGET_WORK}
look_back_seconds = 12.0
upscale_delay_seconds = 2.0
downscale_delay_seconds = 10.0
[serving.judge]
min_replicas = 0
look_back_seconds = 12.0
downscale_delay_seconds = 5.0
"""
REPORTING = {
    "RAY_SERVE_REPLICA_AUTOSCALING_METRIC_PUSH_INTERVAL_S": "1",
    "RAY_SERVE_HANDLE_AUTOSCALING_METRIC_PUSH_INTERVAL_S": "1",
}
"""Replicas report every ten seconds by themselves; a test of two minutes wants it sooner."""
LOOK_SECONDS = 0.5


@dataclass(frozen=True, kw_only=True)
class Phase:
    """One kind of load."""

    name: str
    callers: int
    images: int
    """In each call. Callers x images x STEPS is the most work that can be there at once."""
    replicas: int
    """That it should lead to."""


PHASES = (
    Phase(name="quiet", callers=2, images=3, replicas=1),
    Phase(name="busy", callers=8, images=6, replicas=2),
    Phase(name="quiet again", callers=2, images=3, replicas=1),
)


@dataclass(frozen=True, kw_only=True)
class Reading:
    """The services at one moment."""

    second: float
    """Since the first."""
    phase: str
    replicas: int
    """Generators that answer calls."""
    draining: int
    """Generators that finish their last ones."""
    work: int
    """Unfinished image-steps of all calls."""
    painted: int
    """Images so far."""


class Watch:
    """Looks at the services twice a second and keeps what it sees."""

    def __init__(self) -> None:
        self.tally = Tally()
        self.looks: list[Reading] = []
        self.phase = ""
        self._work = 0
        self._painted = 0

    def work(self, steps: int) -> None:
        """Hears of image-steps asked for (+) and done (-)."""
        self._work += steps
        self._painted += steps == -STEPS

    async def keep_looking(self) -> None:
        """Until it is cancelled."""
        began = time.monotonic()
        while True:
            states = await asyncio.to_thread(_replica_states, "generator")
            self.looks.append(
                Reading(
                    second=time.monotonic() - began,
                    phase=self.phase,
                    replicas=states.get("RUNNING", 0),
                    draining=states.get("STOPPING", 0),
                    work=self._work,
                    painted=self._painted,
                )
            )
            await asyncio.sleep(LOOK_SECONDS)

    async def until(self, replicas: int, *, patience: float) -> None:
        """Waits until there are so many replicas and none besides, at most `patience` seconds."""
        end = time.monotonic() + patience
        while time.monotonic() < end:
            await asyncio.sleep(LOOK_SECONDS)
            if self.looks and (self.looks[-1].replicas, self.looks[-1].draining) == (replicas, 0):
                return


def _replica_states(application: str) -> dict[str, int]:
    from ray import serve

    (deployment,) = serve.status().applications[application].deployments.values()
    return {str(state): int(count) for state, count in deployment.replica_states.items()}


async def traffic(address: str, *, seconds: float, patience: float) -> Watch:
    """The three phases, each for `seconds` beyond the moment at which its replicas are there."""
    watch = Watch()

    async def load(client: AsyncClient, phase: Phase, over: asyncio.Event) -> None:
        call = painting(client, images=phase.images, steps=STEPS, work=watch.work)
        async with watch.tally.calling(phase.name, call, callers=phase.callers):
            await over.wait()

    async with AsyncClient(address) as client:
        await painting(client, images=1, steps=STEPS)(0)
        looking = asyncio.create_task(watch.keep_looking())
        async with asyncio.TaskGroup() as loads:  # the last calls of a phase end in the next one
            for phase in PHASES:
                watch.phase = phase.name
                over = asyncio.Event()
                loads.create_task(load(client, phase, over))
                await watch.until(phase.replicas, patience=patience)
                await asyncio.sleep(seconds)
                over.set()
        looking.cancel()
    return watch


@dataclass(frozen=True, kw_only=True)
class FromNothing:
    """One call of a judge that has no replica."""

    replicas: tuple[int, int, int]
    """Before the call, after it, and at the end."""
    first: float
    """Seconds of the call, in which a replica starts and loads its models."""
    second: float
    """Seconds of the one after it."""
    gone: float
    """Seconds until the replica has ended again."""


async def from_nothing(address: str, *, patience: float) -> FromNothing:
    """A judge while nobody calls, called twice, and left alone again."""
    picture = io.BytesIO()
    render(sample_scene(np.random.default_rng(5)), 128).save(picture, "PNG")
    before = _replica_states("judge").get("RUNNING", 0)
    moments = [time.monotonic()]
    async with AsyncClient(address) as client:
        for _ in range(2):
            await client.judge.assess([picture.getvalue()])
            moments.append(time.monotonic())
    called = _replica_states("judge").get("RUNNING", 0)
    while any(_replica_states("judge").values()) and time.monotonic() < moments[-1] + patience:
        await asyncio.sleep(LOOK_SECONDS)
    moments.append(time.monotonic())
    first, second, gone = (late - early for early, late in itertools.pairwise(moments))
    after = _replica_states("judge").get("RUNNING", 0)
    return FromNothing(replicas=(before, called, after), first=first, second=second, gone=gone)


def table(watch: Watch) -> str:
    """Each phase's figures, as Markdown."""
    rows = [
        "| | seconds | calls | failed | images/s | image-steps waiting, mean | replicas |",
        "|---|---|---|---|---|---|---|",
    ]
    for phase in PHASES:
        looks = [look for look in watch.looks if look.phase == phase.name]
        first, last = looks[0], looks[-1]
        seconds = last.second - first.second
        replicas = _path(count for count, _ in groupby(look.replicas for look in looks))
        failed = sum(failure.startswith(f"{phase.name}:") for failure in watch.tally.failed)
        rows.append(
            f"| {phase.name}: {phase.callers} callers of {phase.images} images | {seconds:.0f} "
            f"| {watch.tally.finished[phase.name]} | {failed} | {(last.painted - first.painted) / seconds:.1f} "
            f"| {mean(look.work for look in looks):.0f} | {replicas} |"
        )
    return "\n".join(rows)


def plot(watch: Watch, path: Path) -> None:
    """The work that waits and the replicas, over time."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    looks = watch.looks
    blue, orange, gray = "#2a5b8c", "#c8553d", "#6b7280"
    seconds = [look.second for look in looks]
    figure, (work, replicas, rate) = pyplot.subplots(
        3, 1, sharex=True, figsize=(9, 6), height_ratios=(3, 2, 2), layout="constrained"
    )
    work.fill_between(seconds, [look.work for look in looks], color=blue, alpha=0.25, linewidth=0)
    work.plot(seconds, [look.work for look in looks], color=blue, linewidth=1)
    work.axhline(TARGET_WORK, color=gray, linewidth=1, linestyle="--", label="target of one replica")
    work.legend(loc="upper right", frameon=False)
    work.set_ylabel("image-steps waiting")
    replicas.step(seconds, [look.replicas for look in looks], where="post", color=orange, linewidth=2, label="serving")
    replicas.fill_between(
        seconds,
        [look.replicas for look in looks],
        [look.replicas + look.draining for look in looks],
        step="post",
        color=orange,
        alpha=0.3,
        linewidth=0,
        label="finishing their calls",
    )
    replicas.set(ylabel="generators", ylim=(0, 2.6), yticks=(0, 1, 2))
    replicas.legend(loc="upper left", frameon=False, ncols=2)
    rate.plot(seconds, _rate(looks), color=blue, linewidth=1.5)
    rate.set(ylabel="images/s", xlabel="seconds", ylim=(0, None), xlim=(0, seconds[-1]))
    for phase in PHASES:
        start = next(look.second for look in looks if look.phase == phase.name)
        for axes in (work, replicas, rate):
            axes.axvline(start, color=gray, linewidth=0.8, linestyle=":")
        work.annotate(phase.name, (start, 1), (4, 4), xycoords=("data", "axes fraction"), textcoords="offset points")
    calls = f"{watch.tally.finished.total()} calls, {len(watch.tally.failed) or 'none'} failed"
    figure.suptitle(calls, x=0.99, ha="right", fontsize=11)
    for axes in (work, replicas, rate):
        axes.spines[["top", "right"]].set_visible(False)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=130)


def _rate(looks: Sequence[Reading], window: float = 5.0) -> list[float]:
    """Images a second over the last `window` seconds of each look."""
    rates = []
    for look in looks:
        first = next(earlier for earlier in looks if earlier.second >= look.second - window)
        passed = look.second - first.second
        rates.append((look.painted - first.painted) / passed if passed else 0.0)
    return rates


def failures(watch: Watch, judge: FromNothing) -> list[str]:
    """What did not go as it should."""
    problems = list(watch.tally.failed)
    replicas = tuple(count for count, _ in groupby(look.replicas for look in watch.looks))
    for service, went, should in (("generator", replicas, (1, 2, 1)), ("judge", judge.replicas, (0, 1, 0))):
        if went != should:
            problems.append(f"the {service}'s replicas went {_path(went)}, not {_path(should)}")
    return problems


def _path(replicas: Iterable[int]) -> str:
    return " -> ".join(map(str, replicas))


def main() -> int:
    """Run the load test; returns the process's exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=20.0, help="of each phase, beyond its change (%(default)s)")
    parser.add_argument("--patience", type=float, default=300.0, help="seconds to wait for a change (%(default)s)")
    parser.add_argument("--plot", type=Path, default=Path("docs/traffic.png"), help="default %(default)s")
    parser.add_argument("--port", type=int, default=9000, help="gRPC port on loopback (default %(default)s)")
    parser.add_argument("--http-port", type=int, default=8000, help="Serve's HTTP port (default %(default)s)")
    options: Any = parser.parse_args()
    os.environ.update(REPORTING)
    with tempfile.TemporaryDirectory() as folder:
        profile = Path(folder) / "traffic.toml"
        profile.write_text(PROFILE)
        with local_services(str(profile), port=options.port, http_port=options.http_port) as address:
            judge = asyncio.run(from_nothing(address, patience=options.patience))
            watch = asyncio.run(traffic(address, seconds=options.seconds, patience=options.patience))
    print(table(watch))
    print(
        f"\nA judge with no replica ({_path(judge.replicas)}): its first call took {judge.first:.1f} s, "
        f"the next {judge.second:.1f} s, and the replica was gone {judge.gone:.0f} s after it."
    )
    plot(watch, options.plot)
    problems = failures(watch, judge)
    for problem in problems:
        print(problem, file=sys.stderr)
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
