"""Linear layers by oneDNN: what torch's own compute, forwards and backwards."""

import pytest
import torch
from torch import nn

from emofeedback_trainer.core.cpu_linear import FrozenLinear, products_by_onednn


def _layers(width: int, *, bias: bool = True) -> tuple[nn.Linear, nn.Linear]:
    """Torch's own, and the same by oneDNN."""
    torch.manual_seed(width)
    own, other = (nn.Linear(width, 96, bias=bias).requires_grad_(False) for _ in range(2))
    other.load_state_dict(own.state_dict())
    products_by_onednn(other)
    assert type(other) is FrozenLinear
    return own, other


@pytest.mark.parametrize("shape", [(5, 160), (1, 7, 640), (3, 40, 160)])
@pytest.mark.parametrize("bias", [True, False])
def test_values_and_gradients_are_torchs_own(shape: tuple[int, ...], bias: bool) -> None:
    own, other = _layers(shape[-1], bias=bias)
    inputs = [torch.randn(shape, generator=torch.Generator().manual_seed(1)).requires_grad_() for _ in range(2)]
    outputs = [layer(input) for layer, input in zip((own, other), inputs, strict=True)]
    torch.testing.assert_close(outputs[1], outputs[0], rtol=0, atol=2e-6)
    towards = torch.randn(outputs[0].shape, generator=torch.Generator().manual_seed(2))
    for output in outputs:
        (output * towards).sum().backward()
    torch.testing.assert_close(inputs[1].grad, inputs[0].grad, rtol=0, atol=2e-6)
    assert other.weight.grad is None


def test_part_of_a_sequence_is_read_where_it_lies() -> None:
    """As the attention's output is, of which the first tokens are the picture's."""
    own, other = _layers(160)
    part = torch.randn(4, 50, 160)[:, 13:]
    torch.testing.assert_close(other(part), own(part), rtol=0, atol=2e-6)


def test_the_same_product_has_the_same_bits_with_a_gradient_and_without() -> None:
    _, other = _layers(640)
    input = torch.randn(6, 30, 640)
    with torch.no_grad():
        without = other(input)
    assert torch.equal(other(input.requires_grad_()), without)


def test_a_layer_that_is_more_than_linear_keeps_its_own_forward() -> None:
    class Doubled(nn.Linear):
        pass

    model = nn.Sequential(nn.Linear(4, 4), Doubled(4, 4), nn.LayerNorm(4))
    products_by_onednn(model)
    assert [type(layer) for layer in model] == [FrozenLinear, Doubled, nn.LayerNorm]


def test_without_onednn_all_stays_torchs_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.backends.mkldnn, "is_available", lambda: False)
    model = nn.Sequential(nn.Linear(4, 4))
    products_by_onednn(model)
    assert type(model[0]) is nn.Linear
