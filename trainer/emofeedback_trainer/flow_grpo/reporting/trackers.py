"""A run's curves and sample grids, for whichever of accelerate's trackers the user has: TensorBoard, W&B, MLflow ...

tensorboard --logdir DIR/tensorboard
DIR/samples/000010.png
"""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType

import numpy as np
from accelerate.tracking import LOGGER_TYPE_TO_CLASS, GeneralTracker, get_available_trackers
from accelerate.utils import LoggerType

from emofeedback.domain.errors import InvalidRequest
from emofeedback.domain.png import marked_synthetic
from emofeedback.domain.training import IterationDone, PanelMeasured
from emofeedback.storage.files import write_whole
from emofeedback_trainer.flow_grpo.events import RolloutPainted, RunEvent, RunStarted
from emofeedback_trainer.flow_grpo.reporting.charts import CHARTS, Source
from emofeedback_trainer.flow_grpo.reporting.sample_grid import sample_grid
from emofeedback_trainer.flow_grpo.types import Rollout

TENSORBOARD, SAMPLES = "tensorboard", "samples"


def check_trackers(names: Sequence[str]) -> None:
    """Whether every one of them is there.

    Raises:
        InvalidRequest: a name is none of accelerate's trackers, or its package is not installed.
    """
    for name in names:
        if name not in LOGGER_TYPE_TO_CLASS:
            raise InvalidRequest.of("report-to", f"{name!r} is none of {', '.join(sorted(LOGGER_TYPE_TO_CLASS))}")
        if LoggerType(name) not in get_available_trackers():
            raise InvalidRequest.of("report-to", f"{name} is not installed: pip install {name}")


class Trackers:
    """Feed it every event of the run; leave it as a context when the run is over."""

    def __init__(self, folder: Path, *, run: str, every: int, names: Sequence[str] = (TENSORBOARD,)) -> None:
        """
        Args:
            folder: the run's.
            run: its name, as the trackers show it.
            every: a grid is made of the first rollout and of every so many-th.
            names: of accelerate's trackers; see `check_trackers`.
        """
        self._folder = folder
        self._run = run
        self._every = every
        self._names = names
        self._trackers: list[GeneralTracker] = []

    def __enter__(self) -> Trackers:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for tracker in self._trackers:
            tracker.finish()

    def show(self, event: RunEvent) -> None:
        """Passes on what the event brings.

        Raises:
            ResourceExhausted, FailedPrecondition: a grid can't be written, as `storage.files.write_whole`.
        """
        match event:
            case RunStarted():
                self._trackers = [self._started(name, event.iteration) for name in self._names]
            case IterationDone():
                self._log("metrics", event.iteration, event.metrics)
            case PanelMeasured():
                self._log("eval", event.iteration, event.metrics)
            case RolloutPainted() if event.iteration == 1 or event.iteration % self._every == 0:
                self._log_grid(event.iteration, event.rollout)

    def _started(self, name: str, iteration: int) -> GeneralTracker:
        kind = LOGGER_TYPE_TO_CLASS[name]
        if name == TENSORBOARD:
            # What a cut run had written of iterations that are done anew is hidden from here on.
            tracker = kind(TENSORBOARD, str(self._folder), purge_step=iteration + 1, flush_secs=10)
        elif kind.requires_logging_directory:
            tracker = kind(self._run, str(self._folder))
        else:
            tracker = kind(self._run)
        tracker.start()
        return tracker

    def _log(self, source: Source, iteration: int, metrics: Mapping[str, float]) -> None:
        values = {
            f"{chart.tag}/{label.replace(' ', '_')}": metrics[key]
            for chart in CHARTS
            for label, (origin, key) in chart.series.items()
            if origin == source and key in metrics
        }
        for tracker in self._trackers:
            tracker.log(values, step=iteration)

    def _log_grid(self, iteration: int, rollout: Rollout) -> None:
        grid, png = sample_grid(rollout), io.BytesIO()
        grid.save(png, "PNG", optimize=True)
        write_whole(self._folder / SAMPLES / f"{iteration:06d}.png", marked_synthetic(png.getvalue()))
        for tracker in self._trackers:
            form = {"dataformats": "NHWC"} if tracker.name == TENSORBOARD else {}
            tracker.log_images({"samples": np.asarray(grid)[None]}, step=iteration, **form)
