"""Compiled blocks paint what the others do, and exchange adapters without compiling again."""

import logging
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch._dynamo.utils import counters
from torch.utils._python_dispatch import TorchDispatchMode

from emofeedback.cuda_graphs import Recording
from emofeedback.domain.tensors import to_torch
from emofeedback.generator import compiled, graphs
from emofeedback.generator.compiled import low_rank_changes
from emofeedback.generator.connector import EmotionRows
from emofeedback.generator.graphs import RecordedForwards
from emofeedback.generator.pipeline import Models, load_models
from emofeedback.generator.policies import Policies
from emofeedback.generator.sampler import advance, recipe, start
from emofeedback.observability.metrics import Metric
from support.tiny_checkpoints import (
    save_tiny_policy,
    tiny_emotion,
    tiny_fused,
    tiny_sd3_settings,
    tiny_transformer,
    tiny_velocity,
)

LEVEL = 2e-5
"""Largest difference of a latent after a step: that of float32 rounded in another order."""


@pytest.fixture(scope="module", autouse=True)
def without_code_generation() -> Iterator[None]:
    """Blocks are captured, guarded and captured again as always, but what was captured runs as it is.

    Once for all tests: what one has captured, which takes long, the blocks of the others run too.
    """
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(compiled, "_BACKEND", "eager")
        torch._dynamo.reset()
        counters.clear()
        yield
        torch._dynamo.reset()


@pytest.fixture
def store(tiny_sd3: Path, tmp_path: Path) -> Path:
    for seed in (1, 2, 3):
        save_tiny_policy(tmp_path / f"policy-{seed}", tiny_sd3, seed=seed)
    return tmp_path


def _loaded(tiny_sd3: Path, store: Path, **changes: Any) -> tuple[Models, Policies]:
    models = load_models(tiny_sd3_settings(tiny_sd3, max_batch=2, **changes))
    return models, Policies(str(store), models.transformer, models.info, blocks=models.blocks)


def _stepped(models: Models, samples: int = 3, emotion: EmotionRows | None = None) -> Tensor:
    """Latents of some samples after one step."""
    prompt = recipe(models, prompt="a dog", negative_prompt="", steps=4, guidance=3.0, emotion=emotion)
    painted = [start(models, prompt, seed) for seed in range(samples)]
    advance(models, painted)
    return torch.stack([sample.latent for sample in painted])


def _compilations() -> int:
    return int(counters["stats"]["unique_graphs"])


def test_policies_are_exchanged_without_compiling_and_paint_as_without_compiled_blocks(
    tiny_sd3: Path, store: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    models, policies = _loaded(tiny_sd3, store, compile_blocks="always")
    told = capsys.readouterr().err
    assert "this takes a minute or less\n" in told and "blocks were compiled in" in told
    plain, plain_policies = _loaded(tiny_sd3, store)
    assert _compilations() > 0
    policies.use("policy-1")  # the first one makes the places
    before = _compilations()
    painted = []
    for policy in ("policy-1", "policy-2", "", "policy-3", "policy-1"):
        policies.use(policy)
        plain_policies.use(policy)
        painted.append(_stepped(models))
        assert (painted[-1] - _stepped(plain)).abs().max() < LEVEL
        _stepped(models, samples=5)
    assert _compilations() == before
    assert torch.equal(painted[0], painted[4])
    assert (painted[0] - painted[1]).abs().max() > 100 * LEVEL
    policies.close()
    plain_policies.close()


def test_the_rows_of_a_feeling_need_no_compiling_of_their_own(tiny_sd3: Path, tmp_path: Path) -> None:
    save_tiny_policy(tmp_path / "felt", tiny_sd3, fused=tiny_fused(tiny_sd3))
    models, policies = _loaded(tiny_sd3, tmp_path, compile_blocks="always")
    plain, plain_policies = _loaded(tiny_sd3, tmp_path)
    policies.use("felt")
    plain_policies.use("felt")
    emotion = policies.fused("felt").read(to_torch(tiny_emotion().states)[0], 1.0)
    before = _compilations()
    for samples in (1, 3, 5):
        felt, unfelt = _stepped(models, samples, emotion), _stepped(models, samples)
        assert (felt - _stepped(plain, samples, emotion)).abs().max() < LEVEL
        assert (felt - unfelt).abs().max() > 100 * LEVEL
    assert _compilations() == before
    policies.close()
    plain_policies.close()


_TO_Q = "transformer.transformer_blocks.0.attn.to_q"


@pytest.mark.parametrize(
    ("weights", "problem"),
    [
        ({"transformer.nowhere.lora_A.weight": torch.ones(2, 32)}, "has no place for nowhere"),
        ({f"{_TO_Q}.lora_A.weight": torch.ones(2, 32)}, r"lacks a factor of transformer_blocks\.0\.attn\.to_q"),
        ({f"{_TO_Q}.lora_A.weight": torch.ones(2, 31), f"{_TO_Q}.lora_B.weight": torch.ones(32, 2)}, r"\(2, 31\)"),
        (
            {f"{_TO_Q}.lora_A.weight": torch.ones(2, 32), f"{_TO_Q}.lora_B.weight": torch.full((32, 2), torch.nan)},
            "has NaN or infinity",
        ),
    ],
)
def test_what_is_no_adapter_of_the_transformer_is_refused(weights: dict[str, Tensor], problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        low_rank_changes(weights, None, tiny_transformer(48))


def test_without_the_setting_nothing_is_compiled(tiny_sd3: Path, store: Path) -> None:
    before = _compilations()
    models, policies = _loaded(tiny_sd3, store)
    _stepped(models)
    assert models.blocks is None
    assert _compilations() == before
    policies.close()


def _replayed(forward: Callable[..., Any], inputs: Mapping[str, Any], *, warm_ups: int, pool: Any = None) -> Recording:
    """As a CUDA graph does: it reads its inputs' places and the weights as they are then, and writes into one place."""
    places = {name: value.clone() for name, value in inputs.items()}
    output = forward(**places)
    return Recording(inputs=places, output=output, replay=lambda: output.copy_(forward(**places)))


def test_small_forwards_are_recorded_once_a_shape_and_anew_where_weights_have_moved(
    tiny_sd3: Path, store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    models, policies = _loaded(tiny_sd3, store, compile_blocks="always")
    plain, plain_policies = _loaded(tiny_sd3, store)
    recorded: list[torch.Size] = []

    def record(forward: Callable[..., Any], inputs: Mapping[str, Any], **options: Any) -> Recording:
        recorded.append(inputs["hidden_states"].shape)
        return _replayed(forward, inputs, **options)

    monkeypatch.setattr(graphs, "record", record)
    assert models.blocks is not None
    models.blocks._recorded = RecordedForwards(models.blocks._velocities, new_pool=object)
    for policy in ("", "policy-1", "policy-2", ""):
        policies.use(policy)
        plain_policies.use(policy)
        for samples in (1, 3, 5):  # with guidance 2, 6 and 10 rows
            assert (_stepped(models, samples) - _stepped(plain, samples)).abs().max() < LEVEL
    rows = [shape[0] for shape in recorded]
    assert rows == 2 * [max(2, models.fewest_samples), 6]  # the first policy made places for its weights
    policies.close()
    plain_policies.close()


def test_blocks_that_cannot_be_compiled_run_as_they_are_and_say_so_once(
    tiny_sd3: Path, store: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(graph: Any, inputs: Any) -> Any:
        raise RuntimeError("no compiler here")

    torch._dynamo.reset()  # else it takes what the tests before have captured; none behind it needs that
    counted: list[float] = []
    monkeypatch.setattr(compiled, "_BACKEND", broken)
    monkeypatch.setattr(Metric, "record", lambda self, value: counted.append(value))
    with caplog.at_level(logging.WARNING, logger=compiled.log.name):
        models, policies = _loaded(tiny_sd3, store, compile_blocks="always")
        policies.use("policy-1")
    [said] = [record.message for record in caplog.records if record.name == compiled.log.name]
    assert "no compiler here" in said
    assert counted == [1]
    plain, plain_policies = _loaded(tiny_sd3, store)
    plain_policies.use("policy-1")
    assert (_stepped(models) - _stepped(plain)).abs().max() < LEVEL
    policies.close()
    plain_policies.close()


def test_what_cannot_be_recorded_runs_as_it_is_and_says_so_once(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(*given: Any, **options: Any) -> Recording:
        raise RuntimeError("operation not permitted when stream is capturing")

    monkeypatch.setattr(graphs, "record", broken)
    twice = RecordedForwards(lambda rows: 2 * rows, new_pool=object)
    with caplog.at_level(logging.WARNING, logger=graphs.log.name):
        assert [twice(rows=torch.tensor([n])).item() for n in (1, 2)] == [2, 4]
    [said] = [record.message for record in caplog.records if record.name == graphs.log.name]
    assert "not permitted" in said


class _Waits(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Counts what brings a number from a GPU into Python, which no CUDA graph can hold."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.count = 0

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        self.count += func in (torch.ops.aten._local_scalar_dense.default, torch.ops.aten.nonzero.default)
        return func(*args, **(kwargs or {}))


def test_a_forward_waits_for_no_number(tiny_sd3: Path) -> None:
    transformer = load_models(tiny_sd3_settings(tiny_sd3)).transformer
    with _Waits() as waits:
        tiny_velocity(transformer)
    assert waits.count == 0
