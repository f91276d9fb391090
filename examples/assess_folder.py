"""Writes a table of what every picture in a folder makes people feel, one row as soon as each is judged.

emofeedback serve &
pip install emofeedback
python examples/assess_folder.py 127.0.0.1:9000 holidays > holidays.csv
"""

from __future__ import annotations

import csv
import sys
from collections.abc import Iterator
from pathlib import Path

from emofeedback import Assessment, Client

COLUMNS = ("picture", "valence", "arousal", "confidence", "emotion", "in_domain", "problem")


def read(paths: list[Path]) -> Iterator[tuple[int, bytes]]:
    for key, path in enumerate(paths):
        yield key, path.read_bytes()  # read only when it is its turn, so a large folder needs little memory


def main(address: str, folder: str) -> None:
    paths = sorted(path for path in Path(folder).rglob("*") if path.suffix.lower() in (".png", ".jpg", ".jpeg"))
    if not paths:
        sys.exit(f"{folder}: no PNG or JPEG there")
    table = csv.writer(sys.stdout)
    table.writerow(COLUMNS)
    with Client(address) as client:
        for key, outcome in client.judge.assess_stream(read(paths)):
            if isinstance(outcome, Assessment):
                rating = [f"{number:.2f}" for number in (outcome.valence, outcome.arousal, outcome.confidence)]
                table.writerow((paths[key], *rating, outcome.emotion, outcome.in_domain, ""))
            else:
                table.writerow((paths[key], "", "", "", "", "", outcome.reason))


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    main(*sys.argv[1:3])
