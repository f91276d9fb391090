from pathlib import Path

import pytest
import torch
from diffusers import SD3Transformer2DModel, StableDiffusion3Pipeline
from safetensors.torch import save_file

from emofeedback.errors import FailedPrecondition, NotFound
from emofeedback.generator.policies import WEIGHTS, Policies
from tiny_checkpoints import save_tiny_policy, save_tiny_sd3


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


def velocity(transformer: SD3Transformer2DModel) -> torch.Tensor:
    generator = torch.Generator().manual_seed(5)
    with torch.inference_mode():
        return transformer(
            hidden_states=torch.randn(1, 4, 8, 8, generator=generator),
            timestep=torch.tensor([500.0]),
            encoder_hidden_states=torch.randn(1, 4, 32, generator=generator),
            pooled_projections=torch.randn(1, 32, generator=generator),
        ).sample


def test_only_folders_with_an_adapter_are_listed(shelf: Path, transformer: SD3Transformer2DModel) -> None:
    assert Policies(str(shelf), transformer).names() == [f"warm.v{number}" for number in range(6)]


def test_an_address_with_a_scheme_works(shelf: Path, transformer: SD3Transformer2DModel) -> None:
    policies = Policies(f"file://{shelf}", transformer)
    policies.fetch("warm.v0")
    policies.use("warm.v0")


def test_without_an_address_there_are_no_policies(transformer: SD3Transformer2DModel) -> None:
    policies = Policies("", transformer)
    assert policies.names() == []
    with pytest.raises(NotFound, match="known are: none"):
        policies.fetch("warm.v0")


@pytest.mark.parametrize("name", ["cold", "../warm.v0", "notes"])
def test_an_unknown_policy_names_the_known_ones(shelf: Path, transformer: SD3Transformer2DModel, name: str) -> None:
    with pytest.raises(NotFound, match=r"is unknown, known are: warm\.v0, warm\.v1"):
        Policies(str(shelf), transformer).fetch(name)


def test_a_policy_paints_as_diffusers_would(base: Path, shelf: Path, transformer: SD3Transformer2DModel) -> None:
    pipeline = StableDiffusion3Pipeline.from_pretrained(base, text_encoder_3=None, tokenizer_3=None)
    pipeline.load_lora_weights(shelf / "warm.v3")
    policies = Policies(str(shelf), transformer)
    policies.fetch("warm.v3")
    policies.use("warm.v3")
    assert torch.equal(velocity(transformer), velocity(pipeline.transformer))


def test_the_base_stays_what_it_was_between_policies(shelf: Path, transformer: SD3Transformer2DModel) -> None:
    before = velocity(transformer)
    policies = Policies(str(shelf), transformer)
    painted = []
    for number in [*range(6), 0]:  # more than stay loaded, and one that has left
        policies.fetch(f"warm.v{number}")
        policies.use(f"warm.v{number}")
        painted.append(velocity(transformer))
        policies.use("")
        assert torch.equal(velocity(transformer), before)
    assert torch.equal(painted[0], painted[-1])
    assert not torch.allclose(painted[0], painted[1], atol=1e-3)


def test_a_file_that_is_no_adapter_is_refused(tmp_path: Path, transformer: SD3Transformer2DModel) -> None:
    for name, content in (("pickle", None), ("other", {"unet.to_q.lora_A.weight": torch.zeros(2, 2)})):
        (tmp_path / name).mkdir()
        if content is None:
            (tmp_path / name / WEIGHTS).write_bytes(b"\x80\x04not safetensors")
        else:
            save_file(content, tmp_path / name / WEIGHTS)
        policies = Policies(str(tmp_path), transformer)
        policies.fetch(name)
        before = velocity(transformer)
        with pytest.raises(FailedPrecondition, match=f"policy '{name}' is not a LoRA adapter"):
            policies.use(name)
        policies.use("")
        assert torch.equal(velocity(transformer), before)
