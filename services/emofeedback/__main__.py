"""The command, as its console script and `python -m emofeedback` start it."""

import sys


def main() -> int:
    """Runs it and returns its exit code; Ctrl-C while it is still being imported is no traceback either."""
    try:
        from emofeedback.cli.main import main as command

        return command()
    except KeyboardInterrupt:
        return 130


if __name__ == "__main__":
    sys.exit(main())
