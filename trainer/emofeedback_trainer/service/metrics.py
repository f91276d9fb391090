"""The runs of the service as Prometheus gauges."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Sequence

from emofeedback.domain.errors import EmoFeedbackError
from emofeedback.domain.limits import LIMITS
from emofeedback.domain.training import RunState, TrainingRun
from emofeedback.observability.metrics import TRAINING_FIGURE, TRAINING_ITERATION, TRAINING_RUNS
from emofeedback_trainer.service.supervisor import Supervisor

log = logging.getLogger(__name__)

_SECONDS = 5.0
"""Between two looks at the runs; Prometheus scrapes every 15 to 60."""


async def record_forever(supervisor: Supervisor) -> None:
    """Keeps the gauges up to date until it is cancelled."""
    while True:
        try:
            record_runs(await supervisor.list(LIMITS.runs_per_list))
        except EmoFeedbackError as error:  # a cluster that is away: it may be put right
            log.error("the runs can't be measured: %s", error)
        except Exception:
            log.exception("the runs can't be measured")
        await asyncio.sleep(_SECONDS)


def record_runs(runs: Sequence[TrainingRun]) -> None:
    """How many runs are in each state; where each stands; what it last wrote of its rollout and its held-out panel."""
    states = Counter(run.state for run in runs)
    for state in RunState:
        TRAINING_RUNS.record(states[state], state=state)
    for run in runs:
        TRAINING_ITERATION.record(run.iteration, run=run.name)
        for source, metrics in (("rollout", run.metrics), ("panel", run.panel)):
            for figure, value in metrics.items():
                TRAINING_FIGURE.record(value, run=run.name, source=source, figure=figure)
