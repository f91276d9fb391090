"""Makes one prompt in all eight emotions at once, with the asynchronous client.

emofeedback serve &
pip install emofeedback
python examples/all_emotions.py 127.0.0.1:9000 "a tree in the meadow" pictures
"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

from emofeedback import AsyncClient, EmoFeedbackError, Emotion


async def create(client: AsyncClient, prompt: str, emotion: Emotion, folder: Path) -> None:
    try:
        creation = await client.create(prompt, emotion=emotion, rounds=2, images=4)
    except EmoFeedbackError as error:  # one that fails costs no other
        print(f"{emotion}: {error}", file=sys.stderr)
        return
    creation.save(folder / f"{emotion}.png")
    print(f"{emotion}: {creation.loss:.2f} from its place on the plane, felt as {creation.assessment.emotion}")


async def main(address: str, prompt: str, folder: str) -> None:
    pictures = Path(folder)
    pictures.mkdir(parents=True, exist_ok=True)
    async with AsyncClient(address) as client:
        await asyncio.gather(*(create(client, prompt, emotion, pictures) for emotion in Emotion))


if __name__ == "__main__":
    if len(sys.argv) != 4:
        sys.exit(__doc__)
    asyncio.run(main(*sys.argv[1:4]))
