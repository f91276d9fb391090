"""The command `emofeedback`: options in, one of its commands out, and every error as one line.

Help and completion answer at once: what a command needs is imported when it runs.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from emofeedback.cli import profile, settings
from emofeedback.cli.deploy import command as deploy
from emofeedback.cli.options import command_parser
from emofeedback.cli.parsing import parse_with, reported
from emofeedback.domain.affect import Emotion, emotion_named
from emofeedback.domain.callers import at_priority
from emofeedback.domain.errors import FailedPrecondition, InvalidRequest
from emofeedback.observability.console import escape_what_has_no_code

if TYPE_CHECKING:
    from emofeedback.backends import Connect, Engines
    from emofeedback.domain.optimization import OptimizationRequest
    from emofeedback.observability.consoles import Consoles

_FEELINGS = "--emotion awe, or --valence 7 --arousal 3, or --feel-like picture.png"


def main(arguments: Sequence[str] | None = None, *, connect: Connect | None = None) -> int:
    """Runs the command; returns the exit code of the process.

    Args:
        arguments: those after the program's name; None takes them from the process.
        connect: gives the engines to work with; None: `backends.connect`.
    """
    escape_what_has_no_code()
    parser, commands = command_parser()
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
            http=options.http,
            token=options.token,
            consoles=consoles,
        )
        return True
    if options.command == "deploy":
        return deploy.deploy(options, consoles)
    if options.command == "show":
        from emofeedback.cli.recipes import show

        show(options.picture, consoles)
        return True
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

            return assess(
                options.image,
                latent=options.latent,
                explain=options.explain,
                taxonomy=options.taxonomy,
                user=options.user,
                engines=engines,
                consoles=consoles,
            )
        case "ask":
            from emofeedback.cli.ask import ask

            return ask(options.picture, options.question, options=options.option, engines=engines, consoles=consoles)
        case "describe":
            from emofeedback.cli.ask import describe

            return describe(options.picture, engines=engines, consoles=consoles)
        case "reproduce":
            from emofeedback.cli.recipes import reproduce

            reproduce(options.picture, out=options.again, engines=engines, consoles=consoles)
        case "studio":
            from emofeedback.cli.studio import studio

            studio(
                Path(options.out or options.out_root),
                port=options.port,
                token=options.token,
                browser=not options.no_browser,
                engines=engines,
                consoles=consoles,
            )
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
            with at_priority("batch"):
                sweep(asked, out=_out(options, consoles), resume=options.resume, engines=engines, consoles=consoles)
    return True


def _create(options: argparse.Namespace, engines: Engines, consoles: Consoles) -> bool:
    if options.feel_like is not None:
        _feel_like(options, engines, consoles)
    if options.prompts is None:
        from emofeedback.cli.create import create

        if options.prompt is None:
            raise InvalidRequest.of("prompt", 'is missing, say what the picture shows: create "a boat" --emotion awe')
        if options.valence is options.arousal is options.emotion is None:
            raise InvalidRequest.of("feeling", f"is missing, say what it should feel like: {_FEELINGS}")
        asked = _request(options, consoles)
        out = _out(options, consoles)
        create(asked, out=out, resume=options.resume, strict=options.strict, engines=engines, consoles=consoles)
        return True
    if options.prompt is not None:
        raise InvalidRequest.of("prompts", "has no effect beside PROMPT: give one of the two")
    with _drawing("create --prompts"):
        from emofeedback.cli.batch import batch
    with at_priority("batch"):
        batch(
            options.prompts,
            lambda row: _request(argparse.Namespace(**{**vars(options), **row}), consoles),
            out=_out(options, consoles, options.prompts.stem),
            resume=options.resume,
            strict=options.strict,
            engines=engines,
            consoles=consoles,
        )
    return True


def _feel_like(options: argparse.Namespace, engines: Engines, consoles: Consoles) -> None:
    """The point of the picture that was named, as if it had been."""
    if any(given is not None for given in (options.valence, options.arousal, options.emotion)):
        raise InvalidRequest.of("feel_like", "is a feeling already: leave out valence, arousal and emotion")
    from emofeedback.cli.feeling import felt_in

    engines.check_policy(options.policy)
    point = felt_in(options.feel_like, user=options.user, engines=engines, consoles=consoles)
    options.valence, options.arousal = point.valence, point.arousal


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


def _out(options: argparse.Namespace, consoles: Consoles, name: str = "") -> Path:
    """The folder that was named, or one in the folder around runs, named after what is asked for.

    Raises:
        InvalidRequest: a run is to be resumed, and there is none.
    """
    if options.out is not None:
        out = Path(options.out)
        if options.resume and not out.exists():
            consoles.note(f"there is no run in {out} to go on with: one begins there")
        return out
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
