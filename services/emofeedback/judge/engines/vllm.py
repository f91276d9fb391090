"""The engine on vLLM, for GPUs: `AsyncLLM` batches continuously by itself, in a process of its own.

It is given the same token ids as the transformers engine, by the same chat template, and the same small pictures.
"""

from __future__ import annotations

import asyncio
import math
import os
import uuid
from collections.abc import Sequence
from typing import Any

from emofeedback.domain.assessment import Decoding
from emofeedback.domain.errors import InvalidRequest
from emofeedback.domain.limits import LIMITS
from emofeedback.judge.engines.base import CHECKPOINT_FILES, CHECKPOINT_MARKER, Chat, Detokenizer, encode
from emofeedback.judge.engines.completion import TOP_TOKENS, Completion
from emofeedback.profiles.profile import JudgeSettings
from emofeedback.storage.checkpoints import fetch

_GPU_SHARE = 0.85
"""Share of the GPU's memory that vLLM takes; the scorer lives beside it."""
_CPU_CACHE_GIB = "1"
"""Key-value cache where vLLM runs on a CPU, unless `VLLM_CPU_KVCACHE_SPACE` says otherwise."""
_MAX_CONTEXT = 16_384
"""Tokens of a chat; the 128,000 of Qwen2.5-VL would claim the memory that batches need."""


class VllmEngine:
    """A `VisionLanguageEngine` on vLLM."""

    def __init__(self, llm: Any, tokenizer: Any) -> None:
        self._llm = llm
        self._tokenizer = tokenizer
        self._detokenizer = Detokenizer(tokenizer)

    @classmethod
    def load(cls, settings: JudgeSettings) -> VllmEngine:
        """The settings' checkpoint in a new engine process.

        Raises:
            FailedPrecondition: it can't be had.
        """
        folder = fetch(settings.checkpoint, CHECKPOINT_MARKER, CHECKPOINT_FILES)
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
        return cls(AsyncLLM.from_engine_args(arguments), AutoTokenizer.from_pretrained(folder))

    async def complete(
        self, chats: Sequence[Chat], decoding: Decoding, *, top_logprobs: bool = False
    ) -> list[Completion]:
        """See `VisionLanguageEngine`. Cancelling aborts the requests inside vLLM."""
        tasks = [asyncio.create_task(self._reply(chat, decoding, top_logprobs)) for chat in chats]
        try:
            return await asyncio.gather(*tasks)
        finally:
            for task in tasks:
                task.cancel()

    def close(self) -> None:
        """See `VisionLanguageEngine`."""
        self._llm.shutdown()
        del self._llm  # left to the interpreter's end, its destructor would complain about missing modules

    async def _reply(self, chat: Chat, decoding: Decoding, top_logprobs: bool) -> Completion:
        from vllm import SamplingParams
        from vllm.exceptions import VLLMValidationError
        from vllm.sampling_params import RequestOutputKind

        prompt: dict[str, Any] = {"prompt_token_ids": encode(self._tokenizer, chat)}
        if chat.images:
            prompt["multi_modal_data"] = {"image": list(chat.images)}
        sampling = SamplingParams(
            max_tokens=decoding.max_new_tokens,
            temperature=decoding.temperature,
            seed=decoding.seed,
            logprobs=TOP_TOKENS if top_logprobs else None,
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
        tops = [{id: choice.logprob for id, choice in step.items()} for step in reply.logprobs or ()]
        finite = not any(math.isnan(logprob) for top in tops for logprob in top.values())
        return self._detokenizer.completion(ids, tops, finished=finished, read=read, finite=finite)
