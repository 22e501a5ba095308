"""A full gradient of an Elman network with tanh, against peers and against the speed of a matrix product."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from benchmarks.contest import contest, ratios, seconds
from benchmarks.engines import engines
from benchmarks.peak import Peak, find_peak, is_product
from benchmarks.problems import Shape, drawn
from benchmarks.protocol import Spread, Timed
from benchmarks.rows import Row, Settings

GOALS = {
    Shape(32, 1, 100): {"PyTorch": 100.0, "JAX": 7.0},
    Shape(64, 8, 100): {"PyTorch": 1.0, "JAX": 1.0},
    Shape(128, 1, 1000): {"PyTorch": 12.0, "JAX": 1.5},
    Shape(128, 32, 1000): {"PyTorch": 2.0, "JAX": 2.0},
    Shape(256, 16, 500): {"PyTorch": 1.5, "JAX": 1.5},
    Shape(512, 32, 200): {"PyTorch": 1.35, "JAX": 1.35},
    Shape(1024, 16, 100): {"PyTorch": 1.35, "JAX": 1.35},
}
GRID = [Shape(N, B, T) for N in (16, 64) for B in (1, 8, 64) for T in (50,)] + [Shape(256, 1, 50), Shape(256, 8, 50)]
AHEAD = {"PyTorch": 1.0, "JAX": 1.0}
PEAK = {Shape(512, 32, 200): 0.85, Shape(1024, 16, 100): 0.85}
QUICK = {Shape(16, 1, 30): AHEAD, Shape(32, 8, 30): AHEAD}


def rows(settings: Settings) -> Iterator[Row]:
    peaks: dict[str, float] = {}
    for shape, goals in settings.choose(GOALS | dict.fromkeys(GRID, AHEAD), QUICK).items():
        for dtype in ("float64", "float32"):
            yield from measured(shape, dtype, goals, settings, peaks)


def measured(
    shape: Shape, dtype: str, goals: Mapping[str, float], settings: Settings, peaks: dict[str, float]
) -> Iterator[Row]:
    """Ratios, fractions of the peak, and seconds of one shape; `peaks` are the fastest products so far, by dtype."""
    problem, case = drawn("elman", shape, dtype), f"elman {dtype} {shape}"
    timed, errors = contest(problem, settings, products=True)
    yield from ratios("gradient", case, timed, errors, {peer: settings.goal(goal) for peer, goal in goals.items()})
    peak = find_peak(timed, problem.flops, peaks.get(dtype, 0.0))
    peaks[dtype] = max(peak.product, peaks.get(dtype, 0.0))
    yield from fractions(case, timed, problem.flops, settings.goal(PEAK.get(shape)), peak)
    yield from seconds("gradient", case, timed, errors)


def fractions(case: str, timed: Timed, flops: float, goal: float | None, peak: Peak) -> Iterator[Row]:
    """The peak and fractions of it; the goal is that of the fastest engine, and judged unless it was disturbed."""
    yield Row("gradient", case, peak.describe(), "GFLOP/s", Spread.of([speed / 1e9 for speed in peak.speeds]))
    for name in timed.seconds:
        if not is_product(name):
            judged = not peak.disturbed and name == engines()[-1]
            fraction = timed.fraction(name, flops, peak.speed)
            yield Row("gradient", case, name, "of GEMM peak", fraction, goal if judged else None)
