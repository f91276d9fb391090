"""`make demo`: the three services on this machine, one prompt, one feeling, through the SDK.

It is the command `create` against services that live just as long as the run, so it shows nothing that a user could
not do with `emofeedback serve` in one terminal and `emofeedback create --address` in another.
"""

from __future__ import annotations

import argparse
import shutil
import sys
from pathlib import Path

from emofeedback.cli import main as cli
from emofeedback.domain.errors import EmoFeedbackError
from emofeedback.observability.console import say
from emofeedback.serving.local import local_services

PROMPT = "a dog in a meadow"
VALENCE, AROUSAL = 8, 6


def main() -> int:
    """Run the demo; returns the process's exit code."""
    parser = argparse.ArgumentParser(prog="python -m emofeedback.cli.demo", description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("runs/demo"), help="run directory, replaced if it is there")
    parser.add_argument("--port", type=int, default=9000, help="gRPC port on loopback (default %(default)s)")
    parser.add_argument("--http-port", type=int, default=8000, help="Serve's HTTP port (default %(default)s)")
    options = parser.parse_args()
    if (options.out / "result.json").is_file():
        shutil.rmtree(options.out)
    say(f'Bringing up generator, judge and optimizer; then: "{PROMPT}" at valence {VALENCE}, arousal {AROUSAL}')
    try:
        with local_services("nano", port=options.port, http_port=options.http_port) as address:
            target = ["--valence", str(VALENCE), "--arousal", str(AROUSAL)]
            return cli.main(["create", PROMPT, *target, "--address", address, "--out", str(options.out)])
    except EmoFeedbackError as error:
        say(f"error: {error}", sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130


if __name__ == "__main__":
    sys.exit(main())
