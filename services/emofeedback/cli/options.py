"""The options of the command `emofeedback`, with the help and the examples of each of its commands."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import NoReturn

from emofeedback.cli import profile
from emofeedback.cli.deploy import command as deploy
from emofeedback.cli.parsing import ADDRESSES, Parser, sentence, typed
from emofeedback.domain.affect import Emotion
from emofeedback.domain.limits import BASE_POLICY, TOKEN_VARIABLE
from emofeedback.domain.taxonomies import TAXONOMIES

_EXAMPLES = """examples:
  emofeedback create "a house by the lake" --emotion contentment
  emofeedback assess photo.jpg
  emofeedback create --help                          options and examples of a command

Defaults of --profile, --address, --token and others: EMOFEEDBACK_ADDRESS=gpu:9000 in the environment, or
address = "gpu:9000" in ~/.config/emofeedback/config.toml (EMOFEEDBACK_CONFIG names another file).
"""
_CREATE_EXAMPLES = """examples:
  emofeedback create "a house by the lake" --valence 7.5 --arousal 3 --out runs/lake
  emofeedback create "a dog in the city" --emotion fear --rounds 5 --images 4 --out runs/dog
  emofeedback create "a castle" --emotion awe --dominance 7 --out runs/castle     and in control
  emofeedback create "a boat" --feel-like photo.jpg --out runs/like      as the photograph feels
  emofeedback create "a boat" --emotion awe --imagine --out runs/imagined
  emofeedback create "a boat" --emotion awe --address 127.0.0.1:9000 --out runs/boat
  emofeedback create "a boat" --emotion awe --out runs/boat --resume
  emofeedback create "a boat" --emotion awe --policy nano-final --policies runs/nano/policies --out runs/learned
  emofeedback create --prompts wishes.csv --out runs/wishes      a run for each row, and one page for all
  emofeedback create "a boat" --emotion awe --json > boat.json
  emofeedback create "a boat" --emotion awe --user ada --calibrations runs/people --out runs/ada    as ada feels

A file of prompts is a table (CSV, a row each) or has a JSON object a line; all but the prompt may be missing:
  prompt,valence,arousal,emotion,dominance,seed
  a house by the lake,7.5,3,,,
  a dog in the city,,,fear,2,11
"""
_ASSESS_EXAMPLES = """examples:
  emofeedback assess photo.jpg painting.png
  emofeedback assess runs/lake/round-*/*.png --json | sort
  emofeedback assess photo.jpg --explain
  emofeedback assess photo.jpg --latent              the judge reasons first, in its reasoning tokens
  emofeedback assess photo.jpg --taxonomy ekman      shares of Ekman's six emotions instead of Mikels' eight
  emofeedback assess holidays/ --json                all pictures in a folder and below it
  curl --silent https://example.org/a.jpg | emofeedback assess -
  emofeedback assess photo.jpg --user ada --calibrations runs/people     as ada would rate it
"""
_ASK_EXAMPLES = """examples:
  emofeedback ask photo.jpg "What is this a picture of?"
  emofeedback ask boat.png "Where does this picture take place?" --option beach --option lake
  emofeedback ask a.png b.png "Which of the two pictures is more stirring?" --option "The first" --option "The second"
  emofeedback ask runs/lake/ "What is the sky like in this picture?" --option night --option stormy     of each picture
"""
_DESCRIBE_EXAMPLES = """examples:
  emofeedback describe photo.jpg
  emofeedback describe before.png after.png          and how the second differs from the first
  emofeedback describe holidays/ --json              all pictures in a folder and below it
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
  emofeedback serve --http                           and OpenAI's images API at http://127.0.0.1:8000/v1
  EMOFEEDBACK_TOKEN=secret emofeedback serve
"""


_STUDIO_EXAMPLES = """examples:
  emofeedback studio
  emofeedback studio --runs pictures --port 8100
  emofeedback studio --address 127.0.0.1:9000
"""
_SHOW_EXAMPLES = """examples:
  emofeedback show runs/lake/round-1/image-1.png
  emofeedback show picture.png --json
"""
_REPRODUCE_EXAMPLES = """examples:
  emofeedback reproduce runs/lake/round-1/image-1.png
  emofeedback reproduce picture.png --out again.png --address 127.0.0.1:9000
"""


def command_parser() -> tuple[Parser, dict[str, Parser]]:
    """The parser, and those of the commands by name."""
    parser = Parser(
        prog="emofeedback",
        description="Paint the picture you describe in the feeling you ask for.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action=_Version, nargs=0, help="show the version and exit")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    _add_create(_command(commands, "create", "paint a prompt in a feeling", _CREATE_EXAMPLES))
    _add_assess(_command(commands, "assess", "say what images make people feel", _ASSESS_EXAMPLES))
    _add_ask(_command(commands, "ask", "answer a question about a picture or two", _ASK_EXAMPLES))
    _add_describe(
        _command(commands, "describe", "say in words what a picture or two make people feel", _DESCRIBE_EXAMPLES)
    )
    _add_calibrate(_command(commands, "calibrate", "learn how one person rates pictures", _CALIBRATE_EXAMPLES))
    _add_sweep(_command(commands, "sweep", "paint a prompt all over the valence-arousal plane", _SWEEP_EXAMPLES))
    _add_serve(
        _command(commands, "serve", "run the three services until Ctrl-C; SIGTERM lets calls finish", _SERVE_EXAMPLES)
    )
    _add_studio(_command(commands, "studio", "open all of it in the browser, until Ctrl-C", _STUDIO_EXAMPLES))
    show = _command(commands, "show", "print how a picture was made, as it says itself", _SHOW_EXAMPLES)
    show.add_argument("picture", type=Path, metavar="PICTURE", help="a PNG that EmoFeedback wrote")
    show.add_argument("--json", action="store_true", help="as one JSON object")
    _add_reproduce(_command(commands, "reproduce", "paint the same pixels again", _REPRODUCE_EXAMPLES))
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
        description=sentence(purpose),
        epilog=examples,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )


def _add_create(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("prompt", nargs="?", type=typed, metavar="PROMPT", help="what the picture shows")
    parser.add_argument("--prompts", type=Path, metavar="FILE", help="a run for each row of a table instead; see below")
    target = parser.add_argument_group("the feeling: a point, an emotion, or a picture's")
    target.add_argument("--valence", type=float, metavar="V", help="unpleasant (1) to pleasant (9)")
    target.add_argument("--arousal", type=float, metavar="A", help="calm (1) to stirred (9)")
    target.add_argument("--emotion", metavar="NAME", help=f"one of {', '.join(Emotion)}")
    target.add_argument(
        "--dominance",
        type=float,
        metavar="D",
        help="a third target, in the choice of the answer alone: helpless (1) to in control (9)",
    )
    target.add_argument("--feel-like", type=Path, metavar="PICTURE", help="what the judge reads in a picture")
    loop = parser.add_argument_group("the loop")
    _add_loop(loop, rounds=3, images=8)
    loop.add_argument(
        "--tolerance",
        type=float,
        metavar="T",
        help="stop once the error is at most this: |dV| + |dA|, + |dD| with --dominance",
    )
    loop.add_argument("--time-budget", type=float, metavar="S", help="seconds after which no new round starts")
    loop.add_argument("--steps", type=int, metavar="N", help="denoising steps of an image (default: the model's own)")
    loop.add_argument(
        "--imagine",
        action=argparse.BooleanOptionalAction,
        help="paint from what the judge imagines of the prompt and the feeling, by a policy that was fused with it "
        "(default: as the profile says for its own policy)",
    )
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
        "--latent",
        action="store_true",
        help="rate after the judge has reasoned in tokens of its own, in one step and without words",
    )
    parser.add_argument(
        "--explain",
        action="store_true",
        help="add the judge's reasons, thought aloud after the rating; slower. The numbers stay those of the rating",
    )
    parser.add_argument(
        "--taxonomy",
        default="mikels",
        metavar="NAME",
        help=f"names for the emotions' shares: {' or '.join(TAXONOMIES)} (default %(default)s)",
    )
    _add_engines(parser)
    _add_person(parser)


def _add_ask(parser: argparse.ArgumentParser) -> None:
    _add_pictures(parser)
    parser.add_argument("question", type=typed, metavar="QUESTION", help="in your own words")
    parser.add_argument(
        "--option",
        action="append",
        type=typed,
        default=[],
        metavar="TEXT",
        help="an answer to choose from, 2 to 10 of them; none: the judge answers in its own words",
    )
    parser.add_argument("--json", action="store_true", help="one JSON object a line")
    _add_engines(parser)


def _add_describe(parser: argparse.ArgumentParser) -> None:
    _add_pictures(parser)
    parser.add_argument("--json", action="store_true", help="one JSON object a line")
    _add_engines(parser)


def _add_pictures(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "picture", nargs="+", type=Path, metavar="PICTURE", help="one or two pictures, a folder of some, or - for stdin"
    )


def _add_calibrate(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("ratings", type=Path, metavar="RATINGS", help="a CSV file: image, valence, arousal")
    parser.add_argument("--user", required=True, metavar="ID", help="whose ratings these are")
    parser.add_argument("--calibrations", default="", metavar="URI", help=_CALIBRATIONS_HELP)
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    _add_engines(parser)


def _add_sweep(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("prompt", type=typed, metavar="PROMPT", help="what the pictures show")
    loop = parser.add_argument_group("the loop in every cell")
    loop.add_argument("--grid", type=int, default=5, metavar="N", help="cells a side (default %(default)s)")
    _add_loop(loop, rounds=2, images=4)
    _add_engines(parser)
    _add_out(parser)


def _add_serve(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--profile", metavar="PROFILE", help=_PROFILE_HELP)
    parser.add_argument("--policies", default="", metavar="URI", help=_POLICIES_HELP)
    parser.add_argument(
        "--port", type=int, default=9000, metavar="PORT", help="gRPC port on loopback (default %(default)s)"
    )
    parser.add_argument(
        "--http-port", type=int, default=8000, metavar="PORT", help="Ray Serve's HTTP port (default %(default)s)"
    )
    parser.add_argument("--http", action="store_true", help="the HTTP API as well, at that port")
    _add_token(parser, "what every call must bring")


def _add_studio(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--port", type=int, default=8000, help="on loopback (default %(default)s)")
    parser.add_argument(
        "--runs", type=Path, metavar="DIR", dest="out", help="folder of the gallery, and of new runs (default: runs)"
    )
    parser.add_argument("--no-browser", action="store_true", help="print where it is, open nothing")
    _add_engines(parser)
    parser.add_argument("--policies", default="", metavar="URI", help=_POLICIES_HELP)
    parser.add_argument("--calibrations", default="", metavar="URI", help=_CALIBRATIONS_HELP)


def _add_reproduce(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("picture", type=Path, metavar="PICTURE", help="a PNG that EmoFeedback wrote")
    parser.add_argument(
        "--out", type=Path, metavar="FILE", dest="again", help="where it goes (default: NAME-again.png beside it)"
    )
    _add_engines(parser)
    parser.add_argument("--policies", default="", metavar="URI", help=_POLICIES_HELP)


_POLICY_HELP = f"a trained policy; {BASE_POLICY!r}: the base weights (default: the profile's own)"
_POLICIES_HELP = "folder or fsspec URI of the policies (default: the profile's own)"
_CALIBRATIONS_HELP = "folder or fsspec URI of personal calibrations (default: the profile's own)"
_OUT_DEFAULT = "(default: one in runs/, named after the prompt)"
_PROFILE_HELP = f"{profile.PROFILES}; see `emofeedback profile`"


def _add_loop(group: argparse._ArgumentGroup, *, rounds: int, images: int) -> None:
    group.add_argument("--rounds", type=int, default=rounds, metavar="N", help="rounds at most (default %(default)s)")
    group.add_argument(
        "--images", type=int, default=images, metavar="N", help="images in each round (default %(default)s)"
    )
    group.add_argument("--seed", type=int, default=0, metavar="N", help="seed of the first image (default %(default)s)")


def _add_engines(parser: argparse.ArgumentParser) -> None:
    parser.set_defaults(policies="", calibrations="")
    engines = parser.add_argument_group("where the work is done")
    engines.add_argument("--profile", help=f"models in this process: {_PROFILE_HELP}")
    profile.add_changes(engines)
    engines.add_argument("--address", metavar="ADDRESS", help=f"services to use instead: {ADDRESSES}")
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
    group.add_argument("--resume", action="store_true", help="go on with the unfinished run in DIR")
    group.add_argument("--json", action="store_true", help="the result as one JSON object; progress on standard error")
