"""Asks for a line in CHANGELOG.md where a branch, or what came after the last release, changes what users have.

    python release/changelog.py                   exits with 1 where a line is missing under Unreleased
    python release/changelog.py --since v0.1.0    compares with another commit
    python release/changelog.py --release 0.2.0   exits with 1 where this version has no dated section of its own

A change that no user can notice says so: a line `Changelog: none` in the message of one of its commits.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

CHANGELOG = "CHANGELOG.md"
SHIPPED = ("services", "trainer", "protos", "helm")
"""Folders of what users have."""
EXEMPT = re.compile(r"^Changelog: none$", re.MULTILINE | re.IGNORECASE)


def entries(changelog: str, version: str = "Unreleased") -> list[str]:
    """The lines of a version's section that begin an entry."""
    section = re.search(rf"^## \[{re.escape(version)}\][^\n]*\n(.*?)(?=^## |\Z)", changelog, re.M | re.S)
    return [line for line in section[1].splitlines() if line.startswith("- ")] if section else []


def is_dated(changelog: str, version: str) -> bool:
    """Whether a version has a section with the day of its release."""
    return re.search(rf"^## \[{re.escape(version)}\] - \d{{4}}-\d\d-\d\d$", changelog, re.M) is not None


def base(root: Path) -> str | None:
    """The commit to compare with: where the branch left main; on main the last release; none before the first."""
    head = _git(root, "rev-parse", "HEAD")
    for main in ("origin/main", "main"):
        fork = _git(root, "merge-base", main, "HEAD")
        if fork and fork != head:
            return fork
    return _git(root, "describe", "--tags", "--abbrev=0", "--match", "v[0-9]*") or None


def missing(root: Path, since: str | None) -> str:
    """What is missing in the changelog for the changes since a commit, or since ever; empty: nothing.

    Raises:
        ValueError: there is no such commit.
    """
    now = entries((root / CHANGELOG).read_text(encoding="utf-8"))
    if since is None:
        return "" if now else "nothing has been released, and nothing stands under Unreleased"
    if not _git(root, "rev-parse", "--verify", "--quiet", f"{since}^{{commit}}"):
        raise ValueError(f"there is no commit {since}: fetch it, or name another by --since")
    changed = _git(root, "diff", "--name-only", since, "HEAD", "--", *SHIPPED).splitlines()
    if not changed or EXEMPT.search(_git(root, "log", "--format=%B", f"{since}..HEAD")):
        return ""
    if set(now) - set(entries(_git(root, "show", f"{since}:{CHANGELOG}"))):
        return ""
    return f"no entry tells of what changed since {since[:12]}, as {changed[0]}"


def _git(root: Path, *arguments: str) -> str:
    """What git prints; nothing where it fails."""
    done = subprocess.run(["git", "-C", str(root), *arguments], capture_output=True, text=True, check=False)
    return done.stdout.strip() if done.returncode == 0 else ""


def main(arguments: Sequence[str] | None = None, root: Path = Path(__file__).parents[1]) -> int:
    """Runs the command; returns the exit code of the process."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--since", metavar="COMMIT", help="by default where the branch left main, or the last release")
    parser.add_argument("--release", metavar="VERSION", help="the version that is about to be released")
    options = parser.parse_args(arguments)
    if options.release is not None:
        changelog = (root / CHANGELOG).read_text(encoding="utf-8")
        ready = is_dated(changelog, options.release) and entries(changelog, options.release)
        said = "" if ready else f"there is no section '## [{options.release}] - YEAR-MONTH-DAY' with entries"
    else:
        try:
            said = missing(root, options.since or base(root))
        except ValueError as error:
            parser.error(str(error))
    if said:
        print(f"{CHANGELOG}: {said}. Write a line, or 'Changelog: none' in a commit's message.", file=sys.stderr)
    return 1 if said else 0


if __name__ == "__main__":
    sys.exit(main())
