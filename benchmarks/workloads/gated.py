"""A full gradient of a GRU and of an LSTM."""

from __future__ import annotations

from collections.abc import Iterator

from benchmarks.contest import contest, ratios, seconds
from benchmarks.problems import Shape, drawn
from benchmarks.rows import Row, Settings

SHAPES = [Shape(32, 1, 100), Shape(128, 1, 1000), Shape(128, 32, 1000), Shape(256, 16, 500), Shape(512, 32, 200)]
GOALS = {"float64": {"PyTorch": 1.0, "JAX": 1.0}, "float32": {"PyTorch": 1.0}}


def rows(settings: Settings) -> Iterator[Row]:
    shapes = settings.choose(SHAPES, [Shape(16, 4, 20)])
    for kind in ("gru", "lstm"):
        for shape in shapes:
            for dtype, goals in GOALS.items():
                timed, errors = contest(drawn(kind, shape, dtype), settings)
                wanted = {peer: settings.goal(goal) for peer, goal in goals.items()}
                yield from ratios("gated", f"{kind} {dtype} {shape}", timed, errors, wanted)
                yield from seconds("gated", f"{kind} {dtype} {shape}", timed, errors)
