"""The command `emofeedback`: options in, one of its commands out, and every error as one line.

Exit codes: 0 done, 1 failed, 2 bad input, 130 Ctrl-C.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import NoReturn

from emofeedback.backends import Connect, Engines, connect
from emofeedback.cli import profile
from emofeedback.cli.assess import assess
from emofeedback.cli.create import create
from emofeedback.cli.deploy import command as deploy
from emofeedback.cli.serve import serve
from emofeedback.domain.affect import Emotion
from emofeedback.domain.errors import EmoFeedbackError, FailedPrecondition, InvalidRequest
from emofeedback.domain.limits import BASE_POLICY, TOKEN_VARIABLE
from emofeedback.domain.optimization import LoopOptions, OptimizationRequest
from emofeedback.domain.validation import target_from
from emofeedback.observability.console import Consoles, escape_what_has_no_code, shown

_FIELD_OPTIONS = {
    "prompt": "PROMPT",
    "target": "--valence and --arousal, or --emotion",
    "target.valence": "--valence",
    "target.arousal": "--arousal",
    "target.emotion": "--emotion",
    "time_budget_seconds": "--time-budget",
    "http_port": "--http-port",
    **{name: f"--{name}" for name in ("address", "grid", "images", "manifests", "out", "port", "profile")},
    **{name: f"--{name}" for name in ("calibrations", "policies", "policy", "rounds", "seed", "tolerance", "user")},
}
"""What a field of a request is called on the command line."""

_CREATE_EXAMPLES = """examples:
  emofeedback create "a house by the lake" --valence 7.5 --arousal 3 --out runs/lake
  emofeedback create "a dog in the city" --emotion fear --rounds 5 --images 4 --out runs/dog
  emofeedback create "a boat" --emotion awe --address 127.0.0.1:9000 --out runs/boat
  emofeedback create "a boat" --emotion awe --out runs/boat --resume
  emofeedback create "a boat" --emotion awe --policy nano-final --policies runs/nano/policies --out runs/learned
  emofeedback create "a boat" --emotion awe --user ada --calibrations runs/people --out runs/ada    as ada feels
"""
_ASSESS_EXAMPLES = """examples:
  emofeedback assess photo.jpg painting.png
  emofeedback assess runs/lake/round-*/*.png --json | sort
  emofeedback assess photo.jpg --explain
  emofeedback assess photo.jpg --user ada --calibrations runs/people     as ada would rate it
"""
_CALIBRATE_EXAMPLES = """examples:
  emofeedback calibrate ratings.csv --user ada --calibrations runs/people
  emofeedback calibrate ratings.csv --user ada --calibrations s3://bucket/people --address 127.0.0.1:9000

The table has a row for each picture that the person rated, ten or more; the pictures lie beside it or in folders
there, and a rating may be missing. Semicolons or tabs between cells, and then decimal commas, do as well:
  image,valence,arousal
  photos/beach.jpg,7.5,3
  photos/crowd.jpg,,6
"""
_SWEEP_EXAMPLES = """examples:
  emofeedback sweep "a tree in the meadow" --out runs/tree
  emofeedback sweep "a castle" --grid 3 --images 8 --rounds 3 --out runs/castle
"""
_SERVE_EXAMPLES = """examples:
  emofeedback serve
  emofeedback serve --profile sd35-medium --port 9100
  emofeedback serve --policies runs/nano/policies
  EMOFEEDBACK_TOKEN=secret emofeedback serve
"""


class _Parser(argparse.ArgumentParser):
    """Says what is wrong with the options the way all other errors are said."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"error: {shown(message.removeprefix('argument '))}\n")


def main(arguments: Sequence[str] | None = None, *, connect: Connect = connect) -> int:
    """Runs the command; returns the exit code of the process.

    Args:
        arguments: those after the program's name; None takes them from the process.
        connect: gives the engines to work with.
    """
    escape_what_has_no_code()
    options = _parser().parse_args(arguments)
    consoles = Consoles()
    try:
        return 0 if _run(options, connect, consoles) else 1
    except InvalidRequest as error:
        consoles.error("; ".join(f"{_FIELD_OPTIONS.get(v.field, v.field)}: {v.problem}" for v in error.violations))
        return 2
    except EmoFeedbackError as error:
        consoles.error(str(error))
        return 1
    except KeyboardInterrupt:
        consoles.error("interrupted")
        return 130


def _run(options: argparse.Namespace, connect: Connect, consoles: Consoles) -> bool:
    """True where everything that was asked for was done."""
    if options.command == "serve":
        serve(
            options.profile,
            policies=options.policies,
            port=options.port,
            http_port=options.http_port,
            token=options.token,
            consoles=consoles,
        )
        return True
    if options.command == "deploy":
        return deploy.deploy(options, consoles)
    if options.command == "calibrate":
        return _calibrate(options, connect, consoles)
    if options.command == "profile":
        return profile.run(options, consoles)
    stores = options.policies, options.calibrations
    engines: Engines = connect(options.profile, options.address, options.token, *stores, options.set)
    match options.command:
        case "create":
            create(
                _request(options),
                out=options.out,
                resume=options.resume,
                strict=options.strict,
                engines=engines,
                consoles=consoles,
            )
        case "assess":
            return assess(
                options.image,
                as_json=options.json,
                explain=options.explain,
                user=options.user,
                engines=engines,
                consoles=consoles,
            )
        case "sweep":
            try:
                from emofeedback.cli.sweep import Sweep, sweep
            except ImportError as error:
                # The client alone comes without Pillow, which draws the plane.
                raise FailedPrecondition("sweep draws with Pillow: pip install 'emofeedback[local]'") from error
            asked = Sweep(
                prompt=options.prompt,
                grid=options.grid,
                rounds=options.rounds,
                images=options.images,
                seed=options.seed,
            )
            sweep(asked, out=options.out, resume=options.resume, engines=engines, consoles=consoles)
    return True


def _calibrate(options: argparse.Namespace, connect: Connect, consoles: Consoles) -> bool:
    try:
        from emofeedback.cli.calibrate import calibrate
        from emofeedback.profiles.overrides import load_profile
    except ImportError as error:
        # The client alone comes without numpy and fsspec.
        raise FailedPrecondition("calibrate needs more than the client: pip install 'emofeedback[local]'") from error
    store = options.calibrations
    if not store and options.address is None:
        store = load_profile(options.profile or "nano", options.set).judge.calibrations
    if not store:
        raise InvalidRequest.of("calibrations", "is missing: the folder or URI in which the judge will look")
    calibrate(
        options.ratings,
        user=options.user,
        calibrations=store,
        as_json=options.json,
        engines=connect(options.profile, options.address, options.token, "", "", options.set),
        consoles=consoles,
    )
    return True


def _request(options: argparse.Namespace) -> OptimizationRequest:
    return OptimizationRequest(
        prompt=options.prompt,
        target=target_from(options.valence, options.arousal, options.emotion),
        **{name: getattr(options, name) for name in LoopOptions.__annotations__},
    )


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(prog="emofeedback", description="Paint the picture you describe in the feeling you ask for.")
    parser.add_argument("--version", action="version", version=f"emofeedback {version('emofeedback')}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    _add_create(_command(commands, "create", "paint a prompt in a feeling", _CREATE_EXAMPLES))
    _add_assess(_command(commands, "assess", "say what images make people feel", _ASSESS_EXAMPLES))
    _add_calibrate(_command(commands, "calibrate", "learn how one person rates pictures", _CALIBRATE_EXAMPLES))
    _add_sweep(_command(commands, "sweep", "paint a prompt all over the valence-arousal plane", _SWEEP_EXAMPLES))
    _add_serve(
        _command(commands, "serve", "run the three services until Ctrl-C; SIGTERM lets calls finish", _SERVE_EXAMPLES)
    )
    profile.add_arguments(_command(commands, "profile", "show or check a profile", profile.EXAMPLES))
    deploy.add_arguments(
        _command(commands, "deploy", "what would run on a cluster, what does, and what is missing", deploy.EXAMPLES)
    )
    return parser


def _command(
    commands: argparse._SubParsersAction[_Parser], name: str, purpose: str, examples: str
) -> argparse.ArgumentParser:
    return commands.add_parser(
        name,
        help=purpose,
        description=f"{purpose.capitalize()}.",
        epilog=examples,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )


def _add_create(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("prompt", metavar="PROMPT", help="what the picture shows")
    target = parser.add_argument_group("the feeling: a point, or an emotion")
    target.add_argument("--valence", type=float, metavar="V", help="unpleasant (1) to pleasant (9)")
    target.add_argument("--arousal", type=float, metavar="A", help="calm (1) to stirred (9)")
    target.add_argument("--emotion", metavar="NAME", help=f"one of {', '.join(Emotion)}")
    loop = parser.add_argument_group("the loop")
    _add_loop(loop, rounds=3, images=8)
    loop.add_argument("--tolerance", type=float, metavar="T", help="stop once the error |dV| + |dA| is at most this")
    loop.add_argument("--time-budget", type=float, metavar="S", help="seconds after which no new round starts")
    loop.add_argument("--strict", action="store_true", help="refuse a prompt with words that the model doesn't know")
    _add_engines(parser)
    policy = parser.add_argument_group("what the generator has learned")
    policy.add_argument("--policy", default="", metavar="NAME", help=_POLICY_HELP)
    policy.add_argument("--policies", default="", metavar="URI", help=_POLICIES_HELP)
    _add_person(parser)
    _add_out(parser)


def _add_assess(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("image", nargs="+", type=Path, metavar="IMAGE", help="a PNG, JPEG or WebP file")
    parser.add_argument("--json", action="store_true", help="one JSON object a line")
    parser.add_argument(
        "--explain",
        action="store_true",
        help="add the judge's reasons, thought aloud after the rating; slower. The numbers stay those of the rating",
    )
    _add_engines(parser)
    _add_person(parser)


def _add_calibrate(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("ratings", type=Path, metavar="RATINGS", help="a CSV file: image, valence, arousal")
    parser.add_argument("--user", required=True, metavar="ID", help="whose ratings these are")
    parser.add_argument("--calibrations", default="", metavar="URI", help=_CALIBRATIONS_HELP)
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    _add_engines(parser)


def _add_sweep(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("prompt", metavar="PROMPT", help="what the pictures show")
    loop = parser.add_argument_group("the loop in every cell")
    loop.add_argument("--grid", type=int, default=5, metavar="N", help="cells a side (default %(default)s)")
    _add_loop(loop, rounds=2, images=4)
    _add_engines(parser)
    _add_out(parser)


def _add_serve(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--profile", default="nano", help=_PROFILE_HELP)
    parser.add_argument("--policies", default="", metavar="URI", help=_POLICIES_HELP)
    parser.add_argument("--port", type=int, default=9000, help="gRPC port on loopback (default %(default)s)")
    parser.add_argument("--http-port", type=int, default=8000, help="Ray Serve's HTTP port (default %(default)s)")
    _add_token(parser, "what every call must bring")


_POLICY_HELP = f"a trained policy; {BASE_POLICY!r}: the base weights (default: the profile's own)"
_POLICIES_HELP = "folder or fsspec URI of the policies (default: the profile's own)"
_CALIBRATIONS_HELP = "folder or fsspec URI of personal calibrations (default: the profile's own)"
_PROFILE_HELP = "nano (the default), sd35-medium, or a .toml file; see `emofeedback profile`"


def _add_loop(group: argparse._ArgumentGroup, *, rounds: int, images: int) -> None:
    group.add_argument("--rounds", type=int, default=rounds, metavar="N", help="at most (default %(default)s)")
    group.add_argument("--images", type=int, default=images, metavar="N", help="a round (default %(default)s)")
    group.add_argument("--seed", type=int, default=0, metavar="N", help="of the first image (default %(default)s)")


def _add_engines(parser: argparse.ArgumentParser) -> None:
    parser.set_defaults(policies="", calibrations="")
    engines = parser.add_argument_group("where the work is done")
    engines.add_argument("--profile", help=f"models in this process: {_PROFILE_HELP}")
    profile.add_changes(engines)
    engines.add_argument("--address", metavar="HOST:PORT", help="services to use instead, as `emofeedback serve` runs")
    _add_token(engines, "for the services at --address")


def _add_person(parser: argparse.ArgumentParser) -> None:
    person = parser.add_argument_group("through whose eyes")
    person.add_argument("--user", default="", metavar="ID", help="a person whose calibration to apply")
    person.add_argument("--calibrations", default="", metavar="URI", help=_CALIBRATIONS_HELP)


def _add_token(group: argparse._ActionsContainer, purpose: str) -> None:
    group.add_argument(
        "--token",
        default=os.environ.get(TOKEN_VARIABLE, ""),
        help=f"bearer token, {purpose} (default: ${TOKEN_VARIABLE})",
    )


def _add_out(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("the result")
    group.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder for images, result and report")
    group.add_argument("--resume", action="store_true", help="go on with the cut run in DIR")
