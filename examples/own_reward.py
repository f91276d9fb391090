"""A reward of your own: warm colors, beside the feeling and the prompt.

    pip install emofeedback-trainer
    PYTHONPATH=examples emofeedback-train flow-grpo --config nano --set rewards.function=own_reward:warmth \
        --set rewards.own=0.3 --set name=warm --out runs/warm
"""

from __future__ import annotations

import io

import numpy as np
from PIL import Image

from emofeedback_trainer.core.rewards import RewardedImage


def warmth(seen: RewardedImage) -> float:
    """How much more red than blue an image has, in [-1, 1].

    Any scale will do, as long as more is better: each reward is normalized within its group. What else is known of the
    image: `seen.prompt`, `seen.target`, `seen.assessment` and `seen.alignment`.
    """
    colors = np.asarray(Image.open(io.BytesIO(seen.image)).convert("RGB"), np.float64) / 255
    return float((colors[..., 0] - colors[..., 2]).mean())
