"""Tensors as records: element type, shape, raw little-endian bytes. They need neither torch nor numpy to travel."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    import torch

ElementType = Literal["float32", "float16", "bfloat16"]

ELEMENT_BYTES: dict[ElementType, int] = {"float32": 4, "float16": 2, "bfloat16": 2}
"""The element types that travel, and how many bytes one takes."""


@dataclass(frozen=True, kw_only=True)
class Tensor:
    """One tensor, in row-major order."""

    element_type: ElementType
    shape: tuple[int, ...]
    data: bytes = field(repr=False)
    """Little-endian; as many bytes as type and shape ask for."""

    def __post_init__(self) -> None:
        expected = ELEMENT_BYTES[self.element_type] * math.prod(self.shape)
        if len(self.data) != expected:
            raise ValueError(
                f"a {self.element_type} tensor of shape {self.shape} has {expected} bytes, not {len(self.data)}"
            )

    @property
    def finite(self) -> bool:
        """Whether it holds neither NaN nor infinity: both have an exponent of ones only.

        Python's integers see all elements at once: where one is added to such an exponent, it runs over into the sign.
        """
        width, ones, one = _EXPONENTS[self.element_type]
        count = len(self.data) // width

        def each(element: int) -> int:
            return int.from_bytes(element.to_bytes(width, "little") * count, "little")

        exponents = int.from_bytes(self.data, "little") & each(ones)
        return not (exponents + each(one)) & each(1 << (8 * width - 1))


_EXPONENTS: dict[ElementType, tuple[int, int, int]] = {
    "float32": (4, 0x7F800000, 0x00800000),
    "float16": (2, 0x7C00, 0x0400),
    "bfloat16": (2, 0x7F80, 0x0080),
}
"""Bytes of an element, the bits of its exponent, and the lowest of them."""


def from_torch(values: torch.Tensor) -> Tensor:
    """A copy of a torch tensor.

    Raises:
        ValueError: its element type is none of `ELEMENT_BYTES`.
    """
    import torch

    name = str(values.dtype).removeprefix("torch.")
    if name not in ELEMENT_BYTES:
        raise ValueError(f"tensors of {name} don't travel, these do: {', '.join(ELEMENT_BYTES)}")
    flat = values.detach().cpu().contiguous().reshape(-1).view(torch.uint8)
    return Tensor(element_type=name, shape=tuple(values.shape), data=flat.numpy().tobytes())


def to_torch(tensor: Tensor) -> torch.Tensor:
    """A torch tensor of its own on the CPU."""
    import torch

    element_type = getattr(torch, tensor.element_type)
    if not tensor.data:
        return torch.empty(tensor.shape, dtype=element_type)
    return torch.frombuffer(bytearray(tensor.data), dtype=element_type).reshape(tensor.shape)
