"""Makes one picture of a prompt in one feeling, with the embedded models in this process: no server, no network.

pip install 'emofeedback[nano]'
python examples/create.py "a dog in a meadow" contentment dog.png
"""

from __future__ import annotations

import sys

import emofeedback


def main(prompt: str, emotion: str, path: str) -> None:
    emofeedback.silence_libraries()
    with emofeedback.local("nano") as engines:  # emofeedback.Client("HOST:PORT") would use running services instead
        creation = engines.create(prompt, emotion=emotion, rounds=3, images=8)

    for round in creation.rounds:
        losses = [candidate.loss for candidate in round.candidates if candidate.loss is not None]
        nearest = f"{min(losses):.2f}" if losses else "unreadable"
        print(f"round {round.index + 1}: nearest {nearest} from the target, painted from {round.prompt!r}")
    feeling = creation.assessment
    print(f"answer: {feeling.emotion}, valence {feeling.valence:.1f}, arousal {feeling.arousal:.1f}")
    print(f"saved {creation.save(path)}")


if __name__ == "__main__":
    if len(sys.argv) != 4:
        sys.exit(__doc__)
    main(*sys.argv[1:4])
