"""The version, whose home is `pyproject.toml`, and the other files that have to name it.

python release/version.py               prints it; exits with 1 where a file names another one
python release/version.py --set 0.2.0   writes it everywhere
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[1]
_NUMBER = r"\d+\.\d+\.\d+(?:(?:a|b|rc)\d+)?"
_OWN = rf'(?m)^version = "({_NUMBER})"$'
_PINNED = rf'"emofeedback(?:-\w+)?(?:\[[\w,]+\])?==({_NUMBER})"'
_IMAGES = rf"emofeedback/(?:services|trainer):({_NUMBER})"
PLACES = {
    "pyproject.toml": (_OWN, _PINNED),
    "trainer/pyproject.toml": (_OWN, _PINNED),
    "services/emofeedback/nano/pyproject.toml": (_OWN,),
    "helm/emofeedback/Chart.yaml": (rf"(?m)^(?:version|appVersion): ({_NUMBER})$",),
    "helm/emofeedback/README.md": (_IMAGES,),
    "*/Dockerfile": (_IMAGES,),
    "README.md": (_IMAGES,),
    "docs/*.md": (_IMAGES,),
}
"""Files, and the patterns whose only group is the version in them; the first is the home."""


def version(root: Path = ROOT) -> str:
    """What `pyproject.toml` says.

    Raises:
        ValueError: it says none.
    """
    found = re.search(_OWN, (root / "pyproject.toml").read_text(encoding="utf-8"))
    if found is None:
        raise ValueError(f"pyproject.toml has no line of the form {_OWN}")
    return found[1]


def named(root: Path = ROOT) -> Iterator[tuple[Path, str]]:
    """Every place, as its file and the version in it."""
    for pattern, expressions in PLACES.items():
        for path in sorted(root.glob(pattern)):
            for expression in expressions:
                yield from ((path, number) for number in re.findall(expression, path.read_text(encoding="utf-8")))


def write(number: str, root: Path = ROOT) -> None:
    """Writes a version into every place.

    Raises:
        ValueError: it is no version.
    """
    if not re.fullmatch(_NUMBER, number):
        raise ValueError(f"{number!r} is no version: write it as 1.2.3 or 1.2.3rc1")

    def exchanged(found: re.Match[str]) -> str:
        return found[0].replace(found[1], number)

    for pattern, expressions in PLACES.items():
        for path in root.glob(pattern):
            text = path.read_text(encoding="utf-8")
            for expression in expressions:
                text = re.sub(expression, exchanged, text)
            path.write_text(text, encoding="utf-8")


def main() -> int:
    """Runs the command; returns the exit code of the process."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--set", metavar="VERSION", help="write it everywhere; then run make helm-golden")
    wanted = parser.parse_args().set
    if wanted is not None:
        try:
            write(wanted)
        except ValueError as error:
            parser.error(str(error))
    number = version()
    others = [f"{path.relative_to(ROOT)} names {other}" for path, other in named() if other != number]
    for line in others:
        print(f"{line}, pyproject.toml {number}: run python release/version.py --set {number}", file=sys.stderr)
    print(number)
    return 1 if others else 0


if __name__ == "__main__":
    sys.exit(main())
