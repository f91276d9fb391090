"""Lets a torchvision that was built for CUDA be imported beside a torch that was built for CPU.

Python runs this file first in every process, vLLM's workers too, while this folder is on PYTHONPATH. Such a
torchvision can't load its compiled operators and then stops at the description of two of them; nobody here calls them.
"""

import importlib.machinery
import sys
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType


class DeclareOperators:
    """Declares the two operators when torchvision is about to be imported."""

    def find_spec(self, name: str, path: Sequence[str] | None, target: ModuleType | None = None) -> None:
        if name != "torchvision":
            return
        sys.meta_path.remove(self)
        found = importlib.machinery.PathFinder.find_spec(name)
        if found is None or found.origin is None:
            return
        import torch

        try:
            torch.ops.load_library(str(Path(found.origin).with_name("_C.so")))
        except OSError:
            self.operators = torch.library.Library("torchvision", "FRAGMENT")
            self.operators.define("nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
            self.operators.define("qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")


finder = DeclareOperators()  # holds the declaration, which lives as long as its Library does
sys.meta_path.insert(0, finder)
