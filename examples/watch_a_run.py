"""Follows one run of the loop over gRPC, event by event, and keeps every picture in a folder.

emofeedback serve &
pip install emofeedback
python examples/watch_a_run.py 127.0.0.1:9000 "a castle in the mountains" 3 7 pictures
"""

from __future__ import annotations

import sys
from pathlib import Path

from emofeedback import (
    AffectPoint,
    Client,
    ImageJudged,
    ImagePainted,
    OptimizationFinished,
    OptimizationRequest,
    PromptUpdated,
)


def main(address: str, prompt: str, valence: str, arousal: str, folder: str) -> None:
    pictures = Path(folder)
    pictures.mkdir(parents=True, exist_ok=True)
    request = OptimizationRequest(prompt=prompt, target=AffectPoint(float(valence), float(arousal)), tolerance=0.5)
    with Client(address) as client:  # token="..." where the services ask for one
        for event in client.optimize(request):
            match event:
                case ImagePainted(round=number, image=image):
                    image.save(pictures / f"round-{number + 1}-{image.index + 1}.png")
                case ImageJudged(candidate=candidate) if candidate.loss is not None:
                    print(f"image {candidate.index + 1} is {candidate.loss:.2f} from the target")
                case PromptUpdated(prompt=rewritten):
                    print(f"next prompt: {rewritten}")
                case OptimizationFinished(answer=answer, stopped_because=reason) if answer:
                    print(f"answer: round-{answer.round + 1}-{answer.index + 1}.png ({reason})")


if __name__ == "__main__":
    if len(sys.argv) != 6:
        sys.exit(__doc__)
    main(*sys.argv[1:6])
