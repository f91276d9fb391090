"""`emofeedback deploy`: what would be deployed, what is, and what is missing for it."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from emofeedback.cli.parsing import sentence
from emofeedback.domain.errors import FailedPrecondition, InvalidRequest
from emofeedback.storage.texts import read_text

if TYPE_CHECKING:
    from emofeedback.observability.consoles import Consoles

EXAMPLES = """examples:
  emofeedback deploy render --profile sd35-medium > serve.yaml     what `serve deploy` takes, and serveConfigV2
  emofeedback deploy status --namespace art                        is it up, with how many pods and GPUs?
  emofeedback deploy doctor                                        can this cluster run it at all?
  helm template x helm/emofeedback --values mine.yaml | emofeedback deploy doctor --manifests -
                                                                   and has it what this installation needs?
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the commands of `emofeedback deploy`."""
    commands = parser.add_subparsers(dest="action", required=True, metavar="COMMAND")

    def add(name: str, purpose: str) -> argparse.ArgumentParser:
        parser: argparse.ArgumentParser = commands.add_parser(
            name,
            help=purpose,
            description=sentence(purpose),
            epilog=EXAMPLES,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        return parser

    render = add("render", "print the Serve configuration of a profile, as YAML")
    render.add_argument("--profile", default="nano", help="a built-in profile, or a .toml file (default: nano)")
    render.add_argument("--policies", default="", metavar="URI", help="store of policies (default: the profile's own)")
    status = add("status", "say how the services on a cluster are; fails unless all are ready")
    status.add_argument("--json", action="store_true", help="one JSON object")
    doctor = add("doctor", "say what a cluster lacks; fails where something is missing")
    doctor.add_argument(
        "--manifests", metavar="FILE", help="what is to be installed, as `helm template` prints it; -: standard input"
    )
    for command in (status, doctor):
        command.add_argument("--context", default="", metavar="NAME", help="of the kubeconfig (default: its current)")
        command.add_argument("--namespace", default="", metavar="NS", help="default: the context's")


def deploy(options: argparse.Namespace, consoles: Consoles) -> bool:
    """Does what was asked for; True where everything is as it should be.

    Raises:
        InvalidRequest: a profile or a file of manifests is refused.
        FailedPrecondition: there is no cluster, it refuses to answer, or a package is missing.
        Unavailable: the cluster can't be reached.
    """
    if options.action == "render":
        consoles.say(_yaml(options.profile, options.policies))
        return True
    from emofeedback.serving.kubernetes import connect

    if options.action == "status":
        from emofeedback.cli.deploy.status import status

        return status(connect(context=options.context, namespace=options.namespace), options.json, consoles)
    from emofeedback.cli.deploy.doctor import doctor

    manifests = _text(options.manifests) if options.manifests else ""
    return doctor(connect(context=options.context, namespace=options.namespace), manifests, consoles)


def _yaml(profile: str, policies: str) -> str:
    try:
        import yaml

        from emofeedback.serving.config import serve_config
    except ImportError as error:
        raise FailedPrecondition(f"{error.name} is not installed: pip install 'emofeedback[deploy]'") from error
    text: str = yaml.safe_dump(serve_config(profile, policies=policies), sort_keys=False)
    return text.rstrip()


def _text(path: str) -> str:
    try:
        return sys.stdin.read().removeprefix("\ufeff") if path == "-" else read_text(Path(path))
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidRequest.of("manifests", f"{path} can't be read: {error}") from error
