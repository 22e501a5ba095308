"""What float32 saves, and what it costs in accuracy: both dtypes in the same rounds."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any

from benchmarks import agreement
from benchmarks.engines import engines
from benchmarks.problems import Shape, drawn, gradient
from benchmarks.protocol import compared
from benchmarks.rows import Row, Settings
from benchmarks.workloads import gradients


def rows(settings: Settings) -> Iterator[Row]:
    for shape in settings.choose(list(gradients.GOALS), [Shape(16, 1, 30)]):
        for engine in engines():
            yield from both(shape, engine, settings)


def both(shape: Shape, engine: str, settings: Settings) -> Iterator[Row]:
    """The same weights, rounded for float32; its error is against the gradient of the rounded ones in float64."""
    narrow, wide = drawn("elman", shape, "float32"), drawn("elman", shape)
    reference = gradient(narrow.wide())
    errors: dict[str, float] = {}

    def check(answers: dict[str, Any]) -> None:
        errors["float32"] = agreement.error(answers["float32"], reference)
        agreement.check(errors, agreement.TOLERANCE["float32"])

    calls = {"float64": partial(gradient, wide, engine), "float32": partial(gradient, narrow, engine)}
    timed = compared(calls, settings.protocol, check)
    ratio, error = timed.ratio("float64", "float32"), errors["float32"]
    yield Row("dtype", f"elman {shape}", f"float64 / float32, {engine}", "×", ratio, error=error)
