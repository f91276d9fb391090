"""The engine on vLLM, for GPUs: `AsyncLLM` batches continuously by itself, in a process of its own.

It is given the same token ids as the transformers engine, by the same chat template, and the same small pictures.
vLLM keeps its model's states to itself, so a copy of the model by transformers may stand beside it for them.
"""

from __future__ import annotations

import asyncio
import math
import os
import uuid
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from emofeedback.domain.assessment import Decoding
from emofeedback.domain.errors import FailedPrecondition, InvalidRequest
from emofeedback.domain.limits import LIMITS
from emofeedback.judge.engines.base import Chat, Detokenizer, OwnTokens, encode, fetch_checkpoint
from emofeedback.judge.engines.completion import TOP_TOKENS, Completion
from emofeedback.judge.engines.transformers import TransformersEngine
from emofeedback.profiles.profile import Device, JudgeSettings

_GPU_SHARE = 0.85
"""Share of the GPU's memory that vLLM takes; the scorer lives beside it."""
_CPU_CACHE_GIB = "1"
"""Key-value cache where vLLM runs on a CPU, unless `VLLM_CPU_KVCACHE_SPACE` says otherwise."""
_MAX_CONTEXT = 16_384
"""Tokens of a chat; the 128,000 of Qwen2.5-VL would claim the memory that batches need."""

_NEVER = -100.0
"""Bias of the logits of tokens that a reply may not hold, vLLM's least."""


class VllmEngine:
    """A `VisionLanguageEngine` on vLLM."""

    def __init__(self, llm: Any, tokenizer: Any, reasoner: TransformersEngine | None = None) -> None:
        """`reasoner`: the engine of the same checkpoint that is asked for states; without it there are none."""
        self.own = OwnTokens.of(tokenizer)
        self._reasoner = reasoner
        # Logits are biased, not forbidden: a list of all that is allowed would be as long as the vocabulary.
        self._never = dict.fromkeys(self.own.all, _NEVER) or None
        self._llm = llm
        self._tokenizer = tokenizer
        self._detokenizer = Detokenizer(tokenizer)

    @classmethod
    def load(cls, settings: JudgeSettings) -> VllmEngine:
        """The settings' checkpoint in a new engine process, and where they say so, a second one here for states.

        Raises:
            FailedPrecondition: it can't be had.
        """
        folder = fetch_checkpoint(settings.checkpoint)
        os.environ.setdefault("VLLM_CPU_KVCACHE_SPACE", _CPU_CACHE_GIB)
        os.environ.setdefault("VLLM_NO_USAGE_STATS", "1")
        from transformers import AutoConfig, AutoTokenizer
        from vllm.engine.arg_utils import AsyncEngineArgs
        from vllm.v1.engine.async_llm import AsyncLLM

        context = min(AutoConfig.from_pretrained(folder).text_config.max_position_embeddings, _MAX_CONTEXT)
        arguments = AsyncEngineArgs(
            model=str(folder),
            dtype=settings.dtype,
            max_model_len=context,
            max_num_seqs=settings.max_batch,
            max_logprobs=TOP_TOKENS,
            limit_mm_per_prompt={"image": LIMITS.message_parts, "video": 0},
            mm_processor_kwargs={"max_pixels": settings.max_pixels},
            gpu_memory_utilization=_GPU_SHARE,
            enforce_eager=settings.device == "cpu",
            enable_log_requests=False,
            disable_log_stats=True,
        )
        # vLLM first: it measures what memory is left.
        llm = AsyncLLM.from_engine_args(arguments)
        reasoner = _reasoner(settings, settings.reasoner) if settings.reasoner else None
        return cls(llm, AutoTokenizer.from_pretrained(folder), reasoner)

    async def complete(
        self, chats: Sequence[Chat], decoding: Decoding, *, top_logprobs: bool = False, pattern: str = ""
    ) -> list[Completion]:
        """See `VisionLanguageEngine`. Cancelling aborts the requests inside vLLM."""
        tasks = [asyncio.create_task(self._reply(chat, decoding, top_logprobs, pattern)) for chat in chats]
        try:
            return await asyncio.gather(*tasks)
        finally:
            for task in tasks:
                task.cancel()

    async def states(self, chats: Sequence[Chat]) -> list[NDArray[np.float32]]:
        """See `VisionLanguageEngine`. They are those of the `reasoner`."""
        if self._reasoner is None:
            raise FailedPrecondition(
                "a judge on vLLM keeps its states to itself: set judge.reasoner of its profile to cpu or cuda, "
                "for a second copy of the model by transformers"
            )
        return await self._reasoner.states(chats)

    def close(self) -> None:
        """See `VisionLanguageEngine`."""
        if self._reasoner is not None:
            self._reasoner.close()
        self._llm.shutdown()
        del self._llm  # left to the interpreter's end, its destructor would complain about missing modules

    async def _reply(self, chat: Chat, decoding: Decoding, top_logprobs: bool, pattern: str) -> Completion:
        from vllm import SamplingParams
        from vllm.exceptions import VLLMValidationError
        from vllm.sampling_params import RequestOutputKind, StructuredOutputsParams

        prompt: dict[str, Any] = {"prompt_token_ids": encode(self._tokenizer, chat)}
        if chat.images:
            prompt["multi_modal_data"] = {"image": list(chat.images)}
        sampling = SamplingParams(
            max_tokens=decoding.max_new_tokens,
            temperature=decoding.temperature,
            seed=decoding.seed,
            logprobs=TOP_TOKENS if top_logprobs else None,
            logit_bias=self._never,
            structured_outputs=StructuredOutputsParams(regex=pattern) if pattern else None,
            output_kind=RequestOutputKind.FINAL_ONLY,
        )
        try:
            async for output in self._llm.generate(prompt, sampling, request_id=uuid.uuid4().hex):
                (reply,) = output.outputs
        except VLLMValidationError as error:
            raise InvalidRequest.of("conversations", f"one can't be read by the model: {error}") from error
        return self._completion(reply, len(output.prompt_token_ids))

    def _completion(self, reply: Any, read: int) -> Completion:
        """What vLLM says of a reply, without the token that ended it."""
        finished = reply.finish_reason == "stop"
        ids = list(reply.token_ids)[: -1 if finished else None]
        tops = [  # as the model gave them, before the bias
            {id: choice.logprob for id, choice in step.items() if id not in self.own.all}
            for step in reply.logprobs or ()
        ]
        finite = not any(math.isnan(logprob) for top in tops for logprob in top.values())
        return self._detokenizer.completion(ids, tops, finished=finished, read=read, finite=finite)


def _reasoner(settings: JudgeSettings, device: Device) -> TransformersEngine:
    """The same checkpoint by transformers."""
    from emofeedback.judge.engines.qwen import Qwen

    beside = replace(settings, device=device, engine="transformers", reasoner="")
    return TransformersEngine(Qwen.load(beside), max_batch=settings.max_batch)
