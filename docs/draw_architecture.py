"""Draws the layers of both packages, from the code's own imports, into `docs/architecture.md`.

    python docs/draw_architecture.py           rewrites the drawings between their markers
    python docs/draw_architecture.py --check   exits with 1 where they are not those of the code

A part is a module or folder at the top of a package. It stands in a layer above everything that it imports; an arrow
that follows from two others is not drawn.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path

import grimp

PAGE = Path(__file__).with_name("architecture.md")
PACKAGES = ("emofeedback", "emofeedback_trainer")

Imports = Mapping[str, frozenset[str]]
"""Parts, each with the parts that it imports."""


def imports_of(package: str) -> Imports:
    """The parts of a package, without its `__init__` and `__main__`."""
    graph = grimp.build_graph(package, cache_dir=None)
    modules = sorted(graph.find_children(package) - {f"{package}.__main__"})
    found: dict[str, frozenset[str]] = {}
    for module in modules:
        inside = {module, *graph.find_descendants(module)}
        imported = {name for one in inside for name in graph.find_modules_directly_imported_by(one)} - inside
        tops = {".".join(name.split(".")[:2]) for name in imported if name.startswith(f"{package}.")}
        found[module.rpartition(".")[2]] = frozenset(top.rpartition(".")[2] for top in tops if top in modules)
    return found


def layers_of(imports: Imports) -> list[list[str]]:
    """Parts by layer, the lowest first.

    Raises:
        ValueError: parts import each other in a circle.
    """
    layers: list[list[str]] = []
    placed: set[str] = set()
    while len(placed) < len(imports):
        layer = sorted(part for part in imports.keys() - placed if imports[part] <= placed)
        if not layer:
            raise ValueError(f"a circle of imports: {', '.join(sorted(imports.keys() - placed))}")
        layers.append(layer)
        placed.update(layer)
    return layers


def direct(imports: Imports) -> list[tuple[str, str]]:
    """The arrows that do not follow from others."""

    def reached(part: str) -> set[str]:
        return {far for near in imports[part] for far in {near, *reached(near)}}

    return [
        (part, near)
        for part in sorted(imports)
        for near in sorted(imports[part])
        if not any(near in reached(other) for other in imports[part] - {near})
    ]


def drawing(package: str) -> str:
    """A package as a Mermaid chart, with its counts."""
    imports = imports_of(package)
    layers, arrows = layers_of(imports), direct(imports)
    lines = [
        f"{len(imports)} parts in {len(layers)} layers, {sum(map(len, imports.values()))} imports between them.",
        "",
        "```mermaid",
        "flowchart TB",
    ]
    for number, layer in reversed(list(enumerate(layers, 1))):
        lines += [f"  subgraph {package}_{number}[layer {number}]", *(f"    {part}" for part in layer), "  end"]
    lines += [f"  {part} --> {near}" for part, near in arrows]
    return "\n".join([*lines, "```"])


def redrawn(page: str) -> str:
    """The page with each package's drawing between its markers."""
    for package in PACKAGES:
        begin, end = f"<!-- drawing of {package} -->", f"<!-- end of {package} -->"
        before, _, rest = page.partition(begin)
        _, _, after = rest.partition(end)
        page = f"{before}{begin}\n{drawing(package)}\n{end}{after}"
    return page


def main() -> int:
    """Rewrites or checks the page; returns the process's exit code."""
    page = PAGE.read_text(encoding="utf-8")
    new = redrawn(page)
    if "--check" in sys.argv[1:]:
        if new != page:
            print("docs/architecture.md does not show the code's imports: run `make architecture`", file=sys.stderr)
        return int(new != page)
    PAGE.write_text(new, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
