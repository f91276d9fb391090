import hashlib
import math
import shutil
import tempfile
from collections.abc import Callable
from copy import deepcopy
from pathlib import Path

import pytest
import torch
from diffusers import SD3Transformer2DModel, StableDiffusion3Pipeline
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors import safe_open
from safetensors.torch import load_file, save

from emofeedback.domain.errors import FailedPrecondition, NotFound
from emofeedback.domain.generation import ModelInfo
from emofeedback.domain.limits import BASE_POLICY
from emofeedback.generator.policies import Policies
from emofeedback.generator.policy_store import MANIFEST, WEIGHTS, PolicyStore
from emofeedback.generator.preflight import WEIGHTED
from emofeedback.storage.checkpoints import digest
from support.tiny_checkpoints import save_policy_of, save_tiny_policy, save_tiny_sd3, tiny_velocity


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny_sd3(tmp_path_factory.mktemp("tiny"), with_t5=False)


@pytest.fixture(scope="module")
def shelf(base: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("policies")
    for number in range(6):
        save_tiny_policy(folder / f"warm.v{number}", base, seed=number)
    (folder / "notes").mkdir()
    return folder


@pytest.fixture
def transformer(base: Path) -> SD3Transformer2DModel:
    return SD3Transformer2DModel.from_pretrained(base / "transformer").eval()


@pytest.fixture
def model(base: Path) -> ModelInfo:
    return ModelInfo(name=base.name, digest=digest(base, WEIGHTED))


def test_only_folders_with_an_adapter_are_listed(
    shelf: Path, transformer: SD3Transformer2DModel, model: ModelInfo
) -> None:
    assert Policies(str(shelf), transformer, model).names() == [f"warm.v{number}" for number in range(6)]


def test_an_address_with_a_scheme_works(shelf: Path, transformer: SD3Transformer2DModel, model: ModelInfo) -> None:
    policies = Policies(f"file://{shelf}", transformer, model)
    policies.fetch("warm.v0")
    policies.use("warm.v0")
    assert policies.names() == Policies(str(shelf), transformer, model).names()


def test_an_address_that_this_installation_cant_read_is_said(
    transformer: SD3Transformer2DModel, model: ModelInfo
) -> None:
    with pytest.raises(FailedPrecondition, match=r"nowhere://shelf can't be used: Protocol not known"):
        Policies("nowhere://shelf", transformer, model).names()


def test_without_an_address_there_are_no_policies(transformer: SD3Transformer2DModel, model: ModelInfo) -> None:
    policies = Policies("", transformer, model)
    assert policies.names() == []
    with pytest.raises(NotFound, match="known are: none"):
        policies.fetch("warm.v0")


@pytest.mark.parametrize("name", ["cold", "../warm.v0", "notes"])
def test_an_unknown_policy_names_the_known_ones(
    shelf: Path, transformer: SD3Transformer2DModel, model: ModelInfo, name: str
) -> None:
    for look in (Policies(str(shelf), transformer, model).fetch, PolicyStore(str(shelf)).require):
        with pytest.raises(NotFound, match=r"is unknown, known are: warm\.v0, warm\.v1"):
            look(name)


def test_a_request_that_names_none_means_the_default(transformer: SD3Transformer2DModel, model: ModelInfo) -> None:
    policies = Policies("", transformer, model, default="warm.v0")
    assert [policies.resolve(name) for name in ("", "warm.v1", BASE_POLICY)] == ["warm.v0", "warm.v1", ""]
    assert Policies("", transformer, model).resolve("") == ""


def test_the_digest_is_that_of_the_weights(shelf: Path, transformer: SD3Transformer2DModel, model: ModelInfo) -> None:
    policies = Policies(str(shelf), transformer, model)
    policies.fetch("warm.v1")
    weights = hashlib.sha256((shelf / "warm.v1" / WEIGHTS).read_bytes()).hexdigest()
    assert policies.digest("warm.v1") == f"sha256:{weights}"
    assert policies.digest("") == ""


def test_a_policy_paints_as_diffusers_would(
    base: Path, shelf: Path, transformer: SD3Transformer2DModel, model: ModelInfo
) -> None:
    pipeline = StableDiffusion3Pipeline.from_pretrained(base, text_encoder_3=None, tokenizer_3=None)
    pipeline.load_lora_weights(shelf / "warm.v3")
    policies = Policies(str(shelf), transformer, model)
    policies.fetch("warm.v3")
    policies.use("warm.v3")
    torch.testing.assert_close(tiny_velocity(transformer), tiny_velocity(pipeline.transformer))
    pipeline.fuse_lora()
    assert torch.equal(tiny_velocity(transformer), tiny_velocity(pipeline.transformer))


def test_the_base_stays_what_it_was_between_policies(
    shelf: Path, transformer: SD3Transformer2DModel, model: ModelInfo
) -> None:
    before = tiny_velocity(transformer)
    policies = Policies(str(shelf), transformer, model)
    painted = []
    for number in [*range(6), 0]:  # more than stay loaded, and one that has left
        policies.fetch(f"warm.v{number}")
        policies.use(f"warm.v{number}")
        painted.append(tiny_velocity(transformer))
        policies.use("")
        assert torch.equal(tiny_velocity(transformer), before)
    assert torch.equal(painted[0], painted[-1])
    assert not torch.allclose(painted[0], painted[1], atol=1e-3)


def test_policies_of_other_layers_leave_no_trace_in_each_other(
    tmp_path: Path, base: Path, transformer: SD3Transformer2DModel, model: ModelInfo
) -> None:
    save_tiny_policy(tmp_path / "few", base, seed=1)
    save_tiny_policy(tmp_path / "more", base, seed=2, layers=("to_k", "to_v", "to_out.0"))
    alone = {}
    for name in ("few", "more"):
        apart = deepcopy(transformer)
        alone_policies = Policies(str(tmp_path), apart, model)
        alone_policies.fetch(name)
        alone_policies.use(name)
        alone[name] = tiny_velocity(apart)
    policies = Policies(str(tmp_path), transformer, model)
    for name in ("few", "more", "few", "more"):
        policies.fetch(name)
        policies.use(name)
        assert torch.equal(tiny_velocity(transformer), alone[name])


@pytest.mark.parametrize(
    ("name", "weights"),
    [("pickle", b"\x80\x04not safetensors"), ("other", save({"unet.to_q.lora_A.weight": torch.zeros(2, 2)}))],
)
def test_a_file_that_is_no_adapter_is_refused(
    tmp_path: Path, base: Path, transformer: SD3Transformer2DModel, model: ModelInfo, name: str, weights: bytes
) -> None:
    save_policy_of(tmp_path / name, base, weights)
    policies = Policies(str(tmp_path), transformer, model)
    policies.fetch(name)
    before = tiny_velocity(transformer)
    with pytest.raises(FailedPrecondition, match=f"policy '{name}' is not a LoRA adapter"):
        policies.use(name)
    policies.use("")
    assert torch.equal(tiny_velocity(transformer), before)


def test_weights_that_are_not_those_of_the_manifest_are_refused(
    tmp_path: Path, base: Path, transformer: SD3Transformer2DModel, model: ModelInfo
) -> None:
    weights = save_tiny_policy(tmp_path / "bent", base) / WEIGHTS
    weights.write_bytes(weights.read_bytes()[:-1] + b"!")
    with pytest.raises(FailedPrecondition, match=r"'bent' is damaged: its weights have the digest sha256:\w+, its man"):
        Policies(str(tmp_path), transformer, model).fetch("bent")


@pytest.mark.parametrize(
    ("manifest", "problem"), [(None, "has no policy.json"), ("{}", "can't be read: KeyError"), ("<", "can't be read")]
)
def test_a_policy_without_a_readable_manifest_is_refused(
    tmp_path: Path,
    base: Path,
    transformer: SD3Transformer2DModel,
    model: ModelInfo,
    manifest: str | None,
    problem: str,
) -> None:
    file = save_tiny_policy(tmp_path / "nameless", base) / MANIFEST
    file.unlink() if manifest is None else file.write_text(manifest)
    with pytest.raises(FailedPrecondition, match=problem):
        Policies(str(tmp_path), transformer, model).fetch("nameless")


def test_a_policy_of_another_base_is_refused_with_both_named(
    tmp_path: Path, base: Path, transformer: SD3Transformer2DModel, model: ModelInfo
) -> None:
    save_tiny_policy(tmp_path / "foreign", base)
    other = ModelInfo(name="another-sd3", digest="sha256:" + "0" * 64)
    with pytest.raises(
        FailedPrecondition, match=f"was made for {model.name} .{model.digest}., this .* another-sd3 .*'base' for none"
    ):
        Policies(str(tmp_path), transformer, other).fetch("foreign")


def test_an_adapter_that_binds_to_fewer_layers_than_it_says_is_refused(
    tmp_path: Path, base: Path, transformer: SD3Transformer2DModel, model: ModelInfo
) -> None:
    weights = (save_tiny_policy(tmp_path / "whole", base) / WEIGHTS).read_bytes()
    save_policy_of(tmp_path / "half", base, weights, modules=99)
    policies = Policies(str(tmp_path), transformer, model)
    policies.fetch("half")
    before = tiny_velocity(transformer)
    with pytest.raises(FailedPrecondition, match=r"'half' changes \d+ layers of this model, its manifest says 99"):
        policies.use("half")
    policies.use("")
    assert torch.equal(tiny_velocity(transformer), before)


def a_policy_of(folder: Path, base: Path, whole: Path, weights: dict[str, torch.Tensor]) -> str:
    """A policy with other tensors than `whole` has, under the same metadata and as many modules."""
    with safe_open(whole / WEIGHTS, "pt") as file:
        metadata, modules = file.metadata(), len(file.keys()) // 2
    return save_policy_of(folder, base, save(weights, metadata), modules=modules).name


def test_an_adapter_of_which_no_tensor_arrives_is_refused(
    tmp_path: Path, base: Path, shelf: Path, transformer: SD3Transformer2DModel, model: ModelInfo
) -> None:
    """Its layers are named in its metadata, so they are made, but nothing in the file is theirs."""
    weights = load_file(shelf / "warm.v0" / WEIGHTS)
    renamed = {name.replace("transformer.", "transformer.model.", 1): weight for name, weight in weights.items()}
    name = a_policy_of(tmp_path / "nobody", base, shelf / "warm.v0", renamed)
    policies = Policies(str(tmp_path), transformer, model)
    with pytest.raises(FailedPrecondition, match="policy 'nobody'"):
        policies.use(name)


@pytest.fixture(scope="module")
def whole_or_damaged(
    base: Path, shelf: Path, tmp_path_factory: pytest.TempPathFactory
) -> Callable[[dict[str, torch.Tensor]], Policies]:
    """Policies of which `p` has these weights."""
    model = ModelInfo(name=base.name, digest=digest(base, WEIGHTED))
    transformer = SD3Transformer2DModel.from_pretrained(base / "transformer").eval()

    def policies(weights: dict[str, torch.Tensor]) -> Policies:
        store = tmp_path_factory.mktemp("store")
        a_policy_of(store / "p", base, shelf / "warm.v0", weights)
        return Policies(str(store), deepcopy(transformer), model)

    return policies


@settings(max_examples=25)
@given(
    damages=st.dictionaries(
        st.integers(0, 11), st.sampled_from([None, "elsewhere", math.nan, math.inf, -math.inf]), max_size=4
    )
)
def test_an_adapter_is_loaded_whole_or_refused_by_its_name(
    shelf: Path,
    whole_or_damaged: Callable[[dict[str, torch.Tensor]], Policies],
    damages: dict[int, float | str | None],
) -> None:
    """Tensors that are missing, that belong to no layer, or in which one value is not a number."""
    weights = load_file(shelf / "warm.v0" / WEIGHTS)
    assert len(weights) == 12
    names = sorted(weights)
    for name, damage in ((names[number], damage) for number, damage in damages.items()):
        weight = weights.pop(name)
        if isinstance(damage, str):
            weights[name.replace("transformer.", f"transformer.{damage}.", 1)] = weight
        elif damage is not None:
            weight.view(-1)[-1] = damage
            weights[name] = weight
    policies = whole_or_damaged(weights)
    if damages:
        with pytest.raises(FailedPrecondition, match="policy 'p' "):
            policies.use("p")
    else:
        policies.use("p")
    policies.use("")


@pytest.mark.parametrize(
    ("damage", "problem"),
    [
        ({}, None),
        ({"lora_B.weight": None}, "policy 'p' lacks transformer.transformer_blocks.0.attn.to_q.lora_B.weight"),
        (
            {"lora_A.weight": math.nan},
            "policy 'p' has NaN or infinity in transformer.transformer_blocks.0.attn.to_q.lora_A.weight",
        ),
    ],
)
def test_the_tensor_that_is_wrong_is_named(
    shelf: Path,
    whole_or_damaged: Callable[[dict[str, torch.Tensor]], Policies],
    damage: dict[str, float | None],
    problem: str | None,
) -> None:
    weights = load_file(shelf / "warm.v0" / WEIGHTS)
    for ending, value in damage.items():
        weight = weights.pop(name := f"transformer.transformer_blocks.0.attn.to_q.{ending}")
        weights |= {name: weight * value} if value is not None else {}
    policies = whole_or_damaged(weights)
    if problem is None:
        policies.use("p")
    else:
        with pytest.raises(FailedPrecondition, match=f"^{problem}$"):
            policies.use("p")


def test_an_adapter_that_half_precision_cant_hold_is_refused(
    base: Path, shelf: Path, tmp_path: Path, model: ModelInfo
) -> None:
    weights = {name: weight * 1e6 for name, weight in load_file(shelf / "warm.v0" / WEIGHTS).items()}
    name = a_policy_of(tmp_path / "loud", base, shelf / "warm.v0", weights)
    transformer = SD3Transformer2DModel.from_pretrained(base / "transformer", dtype=torch.float16)
    with pytest.raises(FailedPrecondition, match="policy 'loud' has NaN or infinity"):
        Policies(str(tmp_path), transformer, model).use(name)


def test_a_name_that_is_given_to_other_weights_is_refused(
    tmp_path: Path, base: Path, shelf: Path, transformer: SD3Transformer2DModel, model: ModelInfo
) -> None:
    for number in range(6):
        shutil.copytree(shelf / f"warm.v{number}", tmp_path / f"warm.v{number}")
    policies = Policies(str(tmp_path), transformer, model)
    for number in range(6):  # more than stay loaded: the first has left
        policies.fetch(f"warm.v{number}")
        policies.use(f"warm.v{number}")
    shutil.rmtree(tmp_path / "warm.v0")
    save_tiny_policy(tmp_path / "warm.v0", base, seed=77)
    with pytest.raises(FailedPrecondition, match=r"'warm\.v0' was sha256:\w+ and is sha256:\w+ now"):
        policies.fetch("warm.v0")


def test_files_of_policies_that_left_are_not_kept(
    shelf: Path, transformer: SD3Transformer2DModel, model: ModelInfo, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    policies = Policies(str(shelf), transformer, model)
    for number in range(6):
        policies.fetch(f"warm.v{number}")
        policies.use(f"warm.v{number}")
    assert sorted(file.name for file in tmp_path.glob("*/*/*")) == [f"warm.v{number}" for number in range(2, 6)]
