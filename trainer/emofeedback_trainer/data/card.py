"""The card of a built data set: what it is, how it was made, and how its labels are spread, for people and `datasets`.

`dataset.json` is written when a build begins and says what the folder is to become, so that a cut build can go on and
another one can't be mixed in; `README.md` and `histograms.png` are written when it is done.
"""

from __future__ import annotations

import io
import json
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from emofeedback.domain.affect import SCALE_MAX, SCALE_MIN
from emofeedback.domain.errors import FailedPrecondition
from emofeedback.storage.files import LOCK, write_whole
from emofeedback_trainer.core.tables import table
from emofeedback_trainer.data.records import AXES, Sample
from emofeedback_trainer.data.storage import LABELS_FILE, data_digest, read_split, splits

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Show = Callable[[str, int, int], None]
"""Told how far a build is: the part at work, how much of it is done, how much there is."""

IDENTITY_FILE = "dataset.json"
_PAGE = "README.md"
_PICTURE = "histograms.png"
_HUB_SPLITS = {"train": "train", "val": "validation", "test": "test"}
_COLORS = {"train": "#4c72b0", "val": "#dd8452", "test": "#55a868"}
_COLUMNS = """| column | meaning |
|---|---|
| `image` | the picture (in the Parquet file: `file_name`, its path) |
| `id` | unique within the data set |
| `neutral_prompt`, `emotional_prompt` | what it shows; the same in words that carry its feeling |
| `valence`, `arousal`, `dominance` | 1 to 9, null where unknown |
| `emotion` | one of Mikels' eight, null where the label is none of them |
| `label` | the category in the source's own words |
| `ranking` | emotions with their weights, most felt first |
| `votes` | what each annotator named, in order |
| `comments` | why it feels so, in words |
| `source`, `license` | where the picture comes from and on what terms |
| `image_sha256` | digest of the picture's file |
"""


@dataclass(frozen=True, kw_only=True)
class Card:
    """What a data set says about itself; two builds with equal cards make equal data sets."""

    title: str
    about: str
    """A paragraph for people: what it is, and what it is not."""
    made_by: str
    """The command, with `OUT` for the folder."""
    facts: Mapping[str, str] = field(default_factory=dict)
    """What else the result depends on: models with their digests, the source's digest."""
    notes: tuple[str, ...] = ()
    """Paragraphs about how the labels were made."""


def begin(folder: Path, card: Card) -> None:
    """Claims the folder for this data set; a folder in which it was begun before is gone on with.

    Raises:
        FailedPrecondition: the folder holds something else.
    """
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / IDENTITY_FILE
    wanted = json.dumps(asdict(card), indent=2, ensure_ascii=False) + "\n"
    if path.exists():
        if path.read_text(encoding="utf-8") != wanted:
            raise FailedPrecondition(
                f"{folder} was begun by `{_made_by(path)}`, with other settings, models or sources than now: "
                "go on with the same ones, or choose another folder"
            )
    elif any(entry.name != LOCK and entry.suffix != ".part" for entry in folder.iterdir()):
        raise FailedPrecondition(f"{folder} is not empty and holds no data set that was begun here: choose another one")
    else:
        write_whole(path, wanted.encode())


def is_finished(folder: Path) -> bool:
    """Whether the folder's build came to its end."""
    return (folder / _PAGE).exists()


def finish(folder: Path, card: Card) -> None:
    """Writes the card's picture and page from what the folder's splits hold; the page comes last."""
    samples = {split: read_split(folder, split) for split in splits(folder)}
    picture = io.BytesIO()
    _histograms(samples).savefig(picture, metadata={"Software": None})
    write_whole(folder / _PICTURE, picture.getvalue())
    write_whole(folder / _PAGE, _page(folder, card, samples).encode())


def _made_by(path: Path) -> str:
    try:
        return str(json.loads(path.read_text(encoding="utf-8"))["made_by"])
    except (ValueError, KeyError, TypeError):
        return "something else"


def _page(folder: Path, card: Card, samples: Mapping[str, Sequence[Sample]]) -> str:
    labels = sorted({_label(sample) for many in samples.values() for sample in many})
    counts = {split: Counter(map(_label, many)) for split, many in samples.items()}
    numbers = table(
        ("split", "samples", "valence, mean ± SD", "arousal", "dominance"),
        [(split, str(len(many)), *(_spread(many, axis) for axis in AXES)) for split, many in samples.items()],
    )
    classes = table(
        ("class", *samples), [(label, *(str(counts[split][label]) for split in samples)) for label in labels]
    )
    facts = {**card.facts, "labels' digest": data_digest(folder)}
    sources = sorted({(sample.source, sample.license) for many in samples.values() for sample in many})
    return f"""---
{_front_matter(card, tuple(samples))}---
# {card.title}

{card.about}

```sh
{card.made_by}
```

{chr(10).join(f"- {name}: {value}" for name, value in facts.items())}

{"".join(f"{note}{chr(10)}{chr(10)}" for note in card.notes)}## Labels

![Histograms of the labels]({_PICTURE})

{numbers}

{classes}

## Columns

{_COLUMNS}
## Sources

{chr(10).join(f"- {source}: {license}" for source, license in sources)}

Open it with `datasets.load_dataset("OUT")`.
"""


def _front_matter(card: Card, names: Sequence[str]) -> str:
    """The YAML that tells `datasets` which files belong to which split."""
    lines = [f"pretty_name: {json.dumps(card.title)}", "configs:", "- config_name: default", "  data_files:"]
    for split in names:
        lines += [f"  - split: {_HUB_SPLITS[split]}", f'    path: ["{split}/{LABELS_FILE}", "{split}/images/*"]']
    return "\n".join(lines) + "\n"


def _spread(samples: Sequence[Sample], axis: str) -> str:
    values = [value for sample in samples if (value := getattr(sample, axis)) is not None]
    return f"{np.mean(values):.2f} ± {np.std(values):.2f}" if values else "none"


def _label(sample: Sample) -> str:
    return sample.label or (sample.emotion.value if sample.emotion else "none")


def _histograms(samples: Mapping[str, Sequence[Sample]]) -> Figure:
    """Shares of the samples over each axis and over the classes, a color a split."""
    from matplotlib.figure import Figure

    from emofeedback_trainer.core.legible import legible

    everyone = [sample for many in samples.values() for sample in many]
    axes = [axis for axis in AXES if any(getattr(sample, axis) is not None for sample in everyone)]
    figure = Figure(figsize=(4.2 * (len(axes) + 1), 3.4), dpi=100, layout="constrained")
    panels = figure.subplots(1, len(axes) + 1, squeeze=False)[0]
    for panel, axis in zip(panels, axes, strict=False):
        for split, many in samples.items():
            values = [value for sample in many if (value := getattr(sample, axis)) is not None]
            if not values:
                continue
            panel.hist(
                values,
                bins=np.linspace(SCALE_MIN, SCALE_MAX, 17),
                weights=np.full(len(values), 100 / len(values)),
                histtype="stepfilled",
                facecolor=_COLORS[split] + "40",
                edgecolor=_COLORS[split],
                label=f"{split} ({len(values)})",
            )
        panel.set(xlabel=axis, ylabel="% of the split", xlim=(SCALE_MIN, SCALE_MAX))
        panel.legend(frameon=False, fontsize=8)
    labels = sorted(Counter(map(_label, everyone)))
    places, width = np.arange(len(labels)), 0.8 / len(samples)
    for number, (split, many) in enumerate(samples.items()):
        counts = Counter(map(_label, many))
        shares = [100 * counts[label] / len(many) for label in labels]
        panels[-1].barh(places + number * width, shares, width, color=_COLORS[split], label=split)
    shown = list(map(legible, labels))
    panels[-1].set(xlabel="% of the split", yticks=places + 0.4 - width / 2, yticklabels=[text for text, _ in shown])
    for tick, (_, font) in zip(panels[-1].get_yticklabels(), shown, strict=True):
        tick.set(fontproperties=font, parse_math=False)
    panels[-1].invert_yaxis()
    for panel in panels:
        panel.spines[["top", "right"]].set_visible(False)
    return figure
