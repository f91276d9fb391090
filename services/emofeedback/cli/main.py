"""The command `emofeedback`: options in, one of its commands out, and every error as one line.

Help and completion answer at once: what a command needs is imported when it runs.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from emofeedback.cli import profile, settings
from emofeedback.cli.deploy import command as deploy
from emofeedback.cli.parsing import Parser, parse_with, reported
from emofeedback.domain.affect import Emotion, emotion_named
from emofeedback.domain.errors import FailedPrecondition, InvalidRequest
from emofeedback.domain.limits import BASE_POLICY, TOKEN_VARIABLE
from emofeedback.observability.console import escape_what_has_no_code

if TYPE_CHECKING:
    from emofeedback.backends import Connect, Engines
    from emofeedback.domain.optimization import OptimizationRequest
    from emofeedback.observability.consoles import Consoles

_CREATE_EXAMPLES = """examples:
  emofeedback create "a house by the lake" --valence 7.5 --arousal 3 --out runs/lake
  emofeedback create "a dog in the city" --emotion fear --rounds 5 --images 4 --out runs/dog
  emofeedback create "a boat" --emotion awe --address 127.0.0.1:9000 --out runs/boat
  emofeedback create "a boat" --emotion awe --out runs/boat --resume
  emofeedback create "a boat" --emotion awe --policy nano-final --policies runs/nano/policies --out runs/learned
  emofeedback create --prompts wishes.csv --out runs/wishes      a run for each row, and one page for all
  emofeedback create "a boat" --emotion awe --json > boat.json
  emofeedback create "a boat" --emotion awe --user ada --calibrations runs/people --out runs/ada    as ada feels

A file of prompts is a table (CSV, a row each) or has a JSON object a line; all but the prompt may be missing:
  prompt,valence,arousal,emotion,seed
  a house by the lake,7.5,3,,
  a dog in the city,,,fear,11
"""
_ASSESS_EXAMPLES = """examples:
  emofeedback assess photo.jpg painting.png
  emofeedback assess runs/lake/round-*/*.png --json | sort
  emofeedback assess photo.jpg --explain
  emofeedback assess holidays/ --json                all pictures in a folder and below it
  curl --silent https://example.org/a.jpg | emofeedback assess -
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
  emofeedback sweep "a tree in the meadow" --out runs/tree --resume
  emofeedback sweep "a castle" --grid 3 --images 8 --rounds 3 --out runs/castle
"""
_COMPLETION = """examples:
  emofeedback completion bash > ~/.local/share/bash-completion/completions/emofeedback
  emofeedback completion zsh > ~/.zfunc/_emofeedback      with fpath+=~/.zfunc before compinit
"""
_SERVE_EXAMPLES = """examples:
  emofeedback serve
  emofeedback serve --profile sd35-medium --port 9100
  emofeedback serve --policies runs/nano/policies
  EMOFEEDBACK_TOKEN=secret emofeedback serve
"""


def main(arguments: Sequence[str] | None = None, *, connect: Connect | None = None) -> int:
    """Runs the command; returns the exit code of the process.

    Args:
        arguments: those after the program's name; None takes them from the process.
        connect: gives the engines to work with; None: `backends.connect`.
    """
    escape_what_has_no_code()
    parser, commands = _parser()
    options = parse_with(parser, commands, arguments)
    from emofeedback.observability.consoles import Consoles

    consoles = Consoles(for_programs=getattr(options, "json", False))

    def run() -> bool:
        if options.command == "completion":
            from emofeedback.cli.completion import completion

            consoles.say(completion(parser, commands.values(), options.shell))
            return True
        settings.fill(options)
        return _run(options, connect, consoles)

    return reported(run, consoles)


def _run(options: argparse.Namespace, connect: Connect | None, consoles: Consoles) -> bool:
    """True where everything that was asked for was done."""
    if options.command == "serve":
        from emofeedback.cli.serve import serve

        serve(
            options.profile or "nano",
            policies=options.policies,
            port=options.port,
            http_port=options.http_port,
            token=options.token,
            consoles=consoles,
        )
        return True
    if options.command == "deploy":
        return deploy.deploy(options, consoles)
    if options.command == "profile":
        return profile.run(options, consoles)
    if connect is None:
        from emofeedback import backends

        connect = backends.connect
    if options.command == "calibrate":
        return _calibrate(options, connect, consoles)
    stores = options.policies, options.calibrations
    engines = connect(options.profile, options.address, options.token, *stores, options.set)
    match options.command:
        case "create":
            return _create(options, engines, consoles)
        case "assess":
            from emofeedback.cli.assess import assess

            return assess(options.image, explain=options.explain, user=options.user, engines=engines, consoles=consoles)
        case "sweep":
            with _drawing("sweep"):
                from emofeedback.cli.sweep import Sweep, sweep
            asked = Sweep(
                prompt=options.prompt,
                grid=options.grid,
                rounds=options.rounds,
                images=options.images,
                seed=options.seed,
            )
            sweep(asked, out=_out(options), resume=options.resume, engines=engines, consoles=consoles)
    return True


def _create(options: argparse.Namespace, engines: Engines, consoles: Consoles) -> bool:
    if options.prompts is None:
        from emofeedback.cli.create import create

        asked = _request(options, consoles)
        out = _out(options)
        create(asked, out=out, resume=options.resume, strict=options.strict, engines=engines, consoles=consoles)
        return True
    if options.prompt is not None:
        raise InvalidRequest.of("prompts", "has no effect beside PROMPT: give one of the two")
    with _drawing("create --prompts"):
        from emofeedback.cli.batch import batch
    batch(
        options.prompts,
        lambda row: _request(argparse.Namespace(**{**vars(options), **row}), consoles),
        out=_out(options, options.prompts.stem),
        resume=options.resume,
        strict=options.strict,
        engines=engines,
        consoles=consoles,
    )
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
        engines=connect(options.profile, options.address, options.token, "", "", options.set),
        consoles=consoles,
    )
    return True


@contextmanager
def _drawing(command: str) -> Iterator[None]:
    """Imports of what draws: the client alone comes without Pillow."""
    try:
        yield
    except ImportError as error:
        raise FailedPrecondition(f"{command} draws with Pillow: pip install 'emofeedback[local]'") from error


def _out(options: argparse.Namespace, name: str = "") -> Path:
    """The folder that was named, or one in the folder around runs, named after what is asked for.

    Raises:
        InvalidRequest: a run is to be resumed, and there is none.
    """
    if options.out is not None:
        return Path(options.out)
    from emofeedback.runs.directory import folder_of

    return folder_of(Path(options.out_root), name or options.prompt, resume=options.resume)


def _request(options: argparse.Namespace, consoles: Consoles) -> OptimizationRequest:
    from emofeedback.domain.optimization import LoopOptions, OptimizationRequest
    from emofeedback.domain.validation import target_from

    word = options.emotion
    emotion = None if word is None else (emotion_named(word) or word)
    if word is not None and emotion != word.strip().casefold() and emotion in list(Emotion):
        consoles.note(f"{word} is not one of the eight emotions, the nearest is taken: {emotion}")
    return OptimizationRequest(
        prompt=options.prompt or "",
        target=target_from(options.valence, options.arousal, emotion),
        **{name: getattr(options, name) for name in LoopOptions.__annotations__},
    )


def _parser() -> tuple[Parser, dict[str, Parser]]:
    """The parser, and those of the commands by name."""
    parser = Parser(prog="emofeedback", description="Paint the picture you describe in the feeling you ask for.")
    parser.add_argument("--version", action=_Version, nargs=0, help="show the version and exit")
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
    completion = _command(commands, "completion", "print what makes a shell complete this command", _COMPLETION)
    completion.add_argument("shell", choices=("bash", "zsh"), help="your shell")
    return parser, dict(commands.choices)


class _Version(argparse.Action):
    """Prints the version; what finds it out is imported only then."""

    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> NoReturn:
        from importlib.metadata import version

        parser.exit(0, f"emofeedback {version('emofeedback')}\n")


def _command(
    commands: argparse._SubParsersAction[Parser], name: str, purpose: str, examples: str
) -> argparse.ArgumentParser:
    return commands.add_parser(
        name,
        help=purpose,
        description=f"{purpose.capitalize()}.",
        epilog=examples,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )


def _add_create(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("prompt", nargs="?", metavar="PROMPT", help="what the picture shows")
    parser.add_argument("--prompts", type=Path, metavar="FILE", help="a run for each row of a table instead; see below")
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
    parser.add_argument(
        "image", nargs="+", type=Path, metavar="IMAGE", help="a picture, a folder of some, or - for stdin"
    )
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
    parser.add_argument("--profile", help=_PROFILE_HELP)
    parser.add_argument("--policies", default="", metavar="URI", help=_POLICIES_HELP)
    parser.add_argument("--port", type=int, default=9000, help="gRPC port on loopback (default %(default)s)")
    parser.add_argument("--http-port", type=int, default=8000, help="Ray Serve's HTTP port (default %(default)s)")
    _add_token(parser, "what every call must bring")


_POLICY_HELP = f"a trained policy; {BASE_POLICY!r}: the base weights (default: the profile's own)"
_POLICIES_HELP = "folder or fsspec URI of the policies (default: the profile's own)"
_CALIBRATIONS_HELP = "folder or fsspec URI of personal calibrations (default: the profile's own)"
_OUT_DEFAULT = "(default: one in runs/, named after the prompt)"
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
    group.add_argument("--token", default="", help=f"bearer token, {purpose} (default: ${TOKEN_VARIABLE})")


def _add_out(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("the result")
    group.add_argument("--out", type=Path, metavar="DIR", help=f"folder for images, result and report {_OUT_DEFAULT}")
    group.add_argument("--resume", action="store_true", help="go on with the cut run in DIR")
    group.add_argument("--json", action="store_true", help="the result as one JSON object; progress on standard error")
