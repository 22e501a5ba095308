"""A full gradient of two layers of an Elman cell, and of a cell with a kernel of its own (docs/extending.md)."""

from __future__ import annotations

from collections.abc import Iterator

from benchmarks.contest import contest, ratios, seconds
from benchmarks.problems import Shape, drawn
from benchmarks.rows import Row, Settings

SHAPES = [Shape(32, 1, 100), Shape(128, 1, 1000), Shape(128, 32, 1000), Shape(512, 32, 200)]
GOALS = {"PyTorch": 1.0, "JAX": 1.0}


def rows(settings: Settings) -> Iterator[Row]:
    shapes = settings.choose(SHAPES, [Shape(16, 4, 20)])
    for kind in ("stacked", "peephole"):
        for shape in shapes:
            for dtype in ("float64", "float32"):
                timed, errors = contest(drawn(kind, shape, dtype), settings)
                wanted = {peer: settings.goal(goal) for peer, goal in GOALS.items()}
                yield from ratios("other cells", f"{kind} {dtype} {shape}", timed, errors, wanted)
                yield from seconds("other cells", f"{kind} {dtype} {shape}", timed, errors)
