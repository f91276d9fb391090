"""`make demo`: the three services on this machine, one prompt, one feeling, through the SDK.

It is the command `create` against services that live just as long as the run, so it shows nothing that a user could
not do with `emofeedback serve` in one terminal and `emofeedback create --address` in another. It paints beside the
former run (`runs/demo.new`), which keeps its place until the new one is finished, and then is kept under another name.
"""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, ExitStack
from pathlib import Path

from emofeedback.backends import AtAddress
from emofeedback.cli.create import kept, open_run, run_to_end, say_result
from emofeedback.cli.display import waiting
from emofeedback.cli.parsing import Parser, reported
from emofeedback.domain.affect import AffectPoint
from emofeedback.domain.errors import InvalidRequest
from emofeedback.domain.optimization import OptimizationRequest
from emofeedback.observability.console import escape_what_has_no_code
from emofeedback.observability.consoles import Consoles
from emofeedback.runs.directory import RESULT, RunDirectory
from emofeedback.storage.files import held, no_folder, set_aside

REQUEST = OptimizationRequest(prompt="a rabbit in a forest", target=AffectPoint(valence=7.5, arousal=3))
"""What the demo asks for: of ten wishes painted by `create --prompts`, the one whose second and third rounds beat the
first most clearly."""

Services = Callable[..., AbstractContextManager[str]]
"""Runs the services of a profile; see `serving.local.local_services`."""


def main(arguments: Sequence[str] | None = None, *, services: Services | None = None) -> int:
    """Runs the demo; returns the process's exit code.

    Args:
        arguments: those after the program's name; None takes them from the process.
        services: None: `local_services`.
    """
    escape_what_has_no_code()
    arguments = sys.argv[1:] if arguments is None else arguments
    parser = Parser(prog="python -m emofeedback.cli.demo", description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("runs/demo"), help="run directory (default %(default)s)")
    parser.add_argument("--resume", action="store_true", help="go on with the demo that was cut")
    parser.add_argument("--port", type=int, default=9000, help="gRPC port on loopback (default %(default)s)")
    parser.add_argument("--http-port", type=int, default=8000, help="Serve's HTTP port (default %(default)s)")
    options = parser.parse_args(arguments)
    consoles = Consoles()

    def run() -> bool:
        again = _again(arguments)
        _demo(options.out, options.resume, (options.port, options.http_port), again, services, consoles)
        return True

    return reported(run, consoles)


def _demo(
    out: Path, resume: bool, ports: tuple[int, int], again: str, services: Services | None, consoles: Consoles
) -> None:
    unfinished = out.with_name(f"{out.name}.new")
    _check(out, unfinished, resume)
    if services is None:
        from emofeedback.serving.local import local_services

        services = local_services
    target = REQUEST.target
    consoles.say(f'"{REQUEST.prompt}" at valence {target.valence:g}, arousal {target.arousal:g}')
    with ExitStack() as running:
        starting = running.enter_context(ExitStack())
        progress = starting.enter_context(waiting(consoles))
        address = running.enter_context(services("nano", port=ports[0], http_port=ports[1], progress=progress))
        starting.close()
        if not resume:
            _say_aside(set_aside(unfinished, out.name), "What was cut before", consoles)
        engines = AtAddress(address, "")
        with held(unfinished):
            request, directory = open_run(REQUEST, unfinished, resume=resume, engines=engines)
            with kept(directory, consoles, again):
                run_to_end(engines.optimizer(), request, directory, consoles)
    _say_aside(set_aside(out), "The former run", consoles)
    if out.exists():
        out.rmdir()  # it is empty
    unfinished.rename(out)
    say_result(RunDirectory(out, directory.run), consoles)


def _check(out: Path, unfinished: Path, resume: bool) -> None:
    """What can be refused before anything is waited for."""
    if not out.name:
        raise InvalidRequest.of("out", f"{out} has no name of its own, name a folder")
    if out.exists() and not (out / RESULT).is_file() and (not out.is_dir() or any(out.iterdir())):
        raise InvalidRequest.of("out", f"{out} is there and is no run: name another folder")
    if resume and not (unfinished / RESULT).is_file():
        raise InvalidRequest.of("--resume", f"there is no cut demo in {unfinished}")
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise no_folder(out.parent, error) from error
    if not os.access(out.parent, os.W_OK | os.X_OK):
        raise InvalidRequest.of("out", f"{out.parent} can't be written")


def _say_aside(kept: Path | None, what: str, consoles: Consoles) -> None:
    if kept is not None:
        consoles.say(f"{what} is kept in {kept}")


def _again(arguments: Sequence[str]) -> str:
    """The command that goes on with a demo of these arguments."""
    words = shlex.join([*(argument for argument in arguments if argument != "--resume"), "--resume"])
    if "MAKELEVEL" in os.environ:
        return f"`make demo DEMO_ARGS={shlex.quote(words)}`"
    return f"`{shlex.quote(sys.executable)} -m emofeedback.cli.demo {words}`"


if __name__ == "__main__":
    sys.exit(main())
