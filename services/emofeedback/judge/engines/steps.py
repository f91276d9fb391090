"""Decoding on a GPU: the steps of a reply as one CUDA graph, over a cache whose places don't move.

A token is some 1,500 kernels, which take longer to launch than the GPU takes to read all weights. A graph is made for
each call of `generate`: it costs about a step, and batches and lengths may differ from call to call.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from transformers import StaticCache

from emofeedback.cuda_graphs import Recording, record

log = logging.getLogger(__name__)


class RecordedSteps:
    """A model's forward for the decoding steps of one call: the first runs as it is, the second is recorded.

    Where recording fails, they all run as they are, which is said.
    """

    def __init__(self, model: Any) -> None:
        self._model = model
        self._recording: Recording | None = None
        self._steps = 0
        self._failed = False

    def __call__(self, **inputs: Any) -> Any:
        self._steps += 1
        if self._recording is None and self._steps > 1 and not self._failed:
            try:
                self._recording = record(self._model, inputs, warm_ups=0)  # a step more would be a token more
            except Exception as error:  # whatever a driver or a kernel that can't be recorded raises
                self._failed = True
                log.warning("a reply's tokens can't be recorded and are decoded slower: %s", error)
        return self._model(**inputs) if self._recording is None else self._recording.run(inputs)


@contextmanager
def recorded_steps(model: Any, tokens: int) -> Iterator[dict[str, Any]]:
    """What `generate` of transformers has to be given beside its inputs, so that it decodes by `RecordedSteps`.

    Args:
        tokens: of prompt and reply together, at most.
    """
    # What `generate` takes for a compiled forward, which it asks for because the cache is static.
    model.get_compiled_call = lambda config: RecordedSteps(model)
    model._valid_auto_compile_criteria = lambda inputs, config: True
    try:
        yield {"past_key_values": StaticCache(config=model.config.get_text_config(decoder=True), max_cache_len=tokens)}
    finally:
        del model.get_compiled_call, model._valid_auto_compile_criteria
