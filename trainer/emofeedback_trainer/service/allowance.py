"""What the configuration of a run may ask of the service's machine: it is the text of a client.

Without anything said it gets the service's own and nothing else: the built-in profiles and prompts, engines in the
run's process, policies in the run's folder. `emofeedback-train serve --allow KEY=VALUE` names more.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from pydantic.dataclasses import dataclass

from emofeedback.domain.errors import FieldViolation
from emofeedback.profiles.builtin import PROFILES
from emofeedback.profiles.overrides import changed, parse_changes
from emofeedback.profiles.profile import STRICT
from emofeedback_trainer.core.task import TASKS
from emofeedback_trainer.flow_grpo.config import FlowGrpoConfig


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Allowance:
    """The service's limits for its runs."""

    addresses: tuple[str, ...] = ()
    """HOST:PORT of services that may paint and judge; they get the run's bearer token."""
    policies: tuple[str, ...] = ()
    """fsspec URIs at which runs may publish, each with all that lies below it."""
    profiles: tuple[str, ...] = ()
    """Profiles besides the built-in ones: .toml files of the service's machine."""
    prompts: tuple[str, ...] = ()
    """Tasks besides the trainer's own: files of prompts on its machine, or `module:attribute` (its code runs)."""
    iterations: int = 10_000
    groups: int = 64
    """Of one iteration."""
    images: int = 2_048
    """Pictures of one iteration."""
    workers: int = 8
    """Processes that learn."""

    def problems(self, config: FlowGrpoConfig) -> Iterator[FieldViolation]:
        """One for each dotted key of a configuration that asks for more."""
        for key, value, own, allowed in (
            ("address", config.address, ("",), self.addresses),
            ("policies", config.policies, ("",), self.policies),
            ("profile", config.profile, tuple(PROFILES), self.profiles),
            ("prompts", config.prompts, tuple(TASKS), self.prompts),
            ("rewards.function", config.rewards.function, ("",), ()),  # a client's choice of code to run: never
        ):
            is_below = key == "policies" and any(_lies_below(value, root) for root in allowed)
            if value not in (*own, *allowed) and not is_below:
                known = ", ".join(filter(None, (*own, *allowed))) or "none"
                yield FieldViolation(key, f"{value!r} is not allowed by this service, allowed are: {known}")
        for key, count, most in (
            ("iterations", config.iterations, self.iterations),
            ("groups", config.groups, self.groups),
            ("num_generations", config.groups * config.num_generations, self.images),
            ("workers", config.workers, self.workers),
        ):
            if count > most:
                what = "makes {} pictures of an iteration" if key == "num_generations" else "is {}"
                yield FieldViolation(key, f"{what.format(count)}, this service allows {most}")


ITS_OWN = Allowance()
"""Nothing but what is the service's own."""


def read_allowance(words: Iterable[str]) -> Allowance:
    """The limits that the options `--allow KEY=VALUE` name.

    Raises:
        InvalidRequest: one is not of this form, an unknown key, or a value of a wrong type; the key is named.
    """
    return changed(ITS_OWN, parse_changes(words, "--allow"))


def _lies_below(uri: str, root: str) -> bool:
    return uri.startswith(root.rstrip("/") + "/") and ".." not in uri.split("/")
