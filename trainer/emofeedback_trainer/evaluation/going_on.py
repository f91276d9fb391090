"""A measurement that was cut goes on in its folder, as what it was begun as and nothing else.

    DIR/settings.json                    what the measurement was begun with, its models' and data's digests too
    DIR/pictures/WAY/pair-01-image-1.png

The lines of what was judged are `core.jsonl`'s; every command says what it keeps in them.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from emofeedback.domain.errors import FailedPrecondition
from emofeedback.profiles.overrides import flat
from emofeedback.profiles.profile import Profile
from emofeedback.runs.directory import slug
from emofeedback.storage.files import write_json, write_whole
from emofeedback.storage.texts import parse_json
from emofeedback_trainer.core.run_files import require_unchanged

SETTINGS = "settings.json"
_ANYWHERE = frozenset(
    {
        *("checkpoint", "scorer", "scorer_processor", "policies", "vocabulary", "memory", "calibrations"),
        *("device", "threads", "max_batch", "decode_batch", "compile_blocks", "minimum_gpu_memory_gib"),
        *("image_steps_per_minute", "recipes", "c2pa_certificate", "c2pa_key"),
    }
)
"""Keys of a profile that say where models lie and how they are run, not what they make."""


def of_profile(profile: Profile) -> dict[str, Any]:
    """A profile's settings that pictures, ratings and rewrites follow from, by dotted key. Models are told by their
    digests, and may lie elsewhere when a measurement goes on."""
    return {
        key: value
        for key, value in flat(profile).items()
        if key.startswith(("generator.", "judge.", "optimizer.")) and key.split(".")[-1] not in _ANYWHERE
    }


def claim(out: Path | None, settings: Mapping[str, Any]) -> None:
    """Takes the folder for a measurement with these settings; those that it doesn't name yet are added to it.

    Args:
        out: None: nothing is kept.
        settings: as JSON has them, in tables or not.

    Raises:
        InvalidRequest: the folder's measurement was begun with other ones; the message names the first.
        FailedPrecondition, ResourceExhausted: the file can't be read or written.
    """
    if out is None:
        return
    before, now = _read(out / SETTINGS), flat(settings)
    known = {key: now[key] for key in now if key in before}
    require_unchanged({key: before[key] for key in known}, known, ())
    if len(known) < len(now):
        write_json(out / SETTINGS, {**before, **now})


def _read(path: Path) -> dict[str, Any]:
    try:
        return flat(parse_json(path.read_text(encoding="utf-8")))
    except FileNotFoundError:
        return {}
    except (OSError, AttributeError, TypeError, ValueError) as error:
        raise FailedPrecondition(f"{path} can't be read: {error!r}") from error


@dataclass(frozen=True)
class KeptPictures:
    """What was painted for a measurement, in files, so that no picture is painted twice."""

    out: Path | None
    """The measurement's folder; None: nothing is kept."""

    async def of_pair(
        self, way: str, number: int, images: int, paint: Callable[[], Awaitable[list[bytes]]]
    ) -> list[bytes]:
        """The PNGs of a pair, as they were kept; painted and kept where any of them is missing.

        Args:
            way: what they were painted by.
            number: of the pair, from 0.
            images: how many `paint` makes.

        Raises:
            EmoFeedbackError: as `paint` raises, or the pictures can't be written.
        """
        if self.out is None:
            return await paint()
        folder = self.out / "pictures" / slug(way)
        paths = [folder / f"pair-{number + 1:02}-image-{image + 1}.png" for image in range(images)]
        if all(path.exists() for path in paths):
            return [path.read_bytes() for path in paths]
        painted = await paint()
        for path, picture in zip(paths, painted, strict=True):
            write_whole(path, picture)
        return painted


NOT_KEPT = KeptPictures(None)
"""Where none are."""
