"""TensorBoard scalars and sample grids of a run, written while it goes on.

tensorboard --logdir DIR/tensorboard
DIR/samples/000010.png
"""

from __future__ import annotations

import io
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType

import numpy as np
from torch.utils.tensorboard import SummaryWriter

from emofeedback.domain.training import IterationDone, PanelMeasured
from emofeedback.storage.files import write_whole
from emofeedback_trainer.flow_grpo.events import RolloutPainted, RunEvent, RunStarted
from emofeedback_trainer.flow_grpo.reporting.charts import CHARTS, Source
from emofeedback_trainer.flow_grpo.reporting.sample_grid import sample_grid
from emofeedback_trainer.flow_grpo.types import Rollout

TENSORBOARD, SAMPLES = "tensorboard", "samples"


class Curves:
    """Feed it every event of the run; leave it as a context when the run is over."""

    def __init__(self, folder: Path, *, every: int) -> None:
        """`folder` is the run's; a grid is made of the first rollout and of every `every`-th."""
        self._folder = folder
        self._every = every
        self._writer: SummaryWriter | None = None

    def __enter__(self) -> Curves:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._writer is not None:
            self._writer.close()

    def show(self, event: RunEvent) -> None:
        """Writes what the event brings.

        Raises:
            ResourceExhausted, FailedPrecondition: a grid can't be written, as `storage.files.write_whole`.
        """
        match event:
            case RunStarted():
                # What a cut run had written of iterations that are done anew is hidden from here on.
                self._writer = SummaryWriter(
                    str(self._folder / TENSORBOARD), purge_step=event.iteration + 1, flush_secs=10
                )
            case IterationDone():
                self._add("metrics", event.iteration, event.metrics)
            case PanelMeasured():
                self._add("eval", event.iteration, event.metrics)
            case RolloutPainted() if event.iteration == 1 or event.iteration % self._every == 0:
                self._add_grid(event.iteration, event.rollout)

    def _add(self, source: Source, iteration: int, metrics: Mapping[str, float]) -> None:
        if self._writer is None:
            return
        for chart in CHARTS:
            for label, (origin, key) in chart.series.items():
                value = metrics.get(key)
                if origin == source and isinstance(value, float | int):
                    self._writer.add_scalar(f"{chart.tag}/{label.replace(' ', '_')}", value, iteration)
        self._writer.flush()

    def _add_grid(self, iteration: int, rollout: Rollout) -> None:
        grid, png = sample_grid(rollout), io.BytesIO()
        grid.save(png, "PNG", optimize=True)
        write_whole(self._folder / SAMPLES / f"{iteration:06d}.png", png.getvalue())
        if self._writer is not None:
            self._writer.add_image("samples", np.asarray(grid), iteration, dataformats="HWC")
