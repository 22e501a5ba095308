"""A gradient by everything that can compute it: this package's engines and the peers, checked and timed in turn."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import partial

import numpy as np

from benchmarks import agreement
from benchmarks.engines import engines
from benchmarks.peers import peers
from benchmarks.problems import Problem, gradient
from benchmarks.protocol import Call, Timed, compared
from benchmarks.rows import Row, Settings

GEMM_SIZE = 1024
GEMM = "GEMM"


def contest(problem: Problem, settings: Settings, gemm: bool = False) -> tuple[Timed, dict[str, float]]:
    """Seconds of every contender, and the error of each against NumPy's gradient in float64."""
    reference = gradient(problem.wide())
    errors: dict[str, float] = {}

    def check(answers: Mapping[str, dict[str, np.ndarray]]) -> None:
        errors.update(agreement.errors({name: answers[name] for name in answers if name != GEMM}, reference))
        agreement.check(errors, agreement.TOLERANCE[problem.dtype])

    calls = contenders(problem) | ({GEMM: gemm_call(problem.dtype)} if gemm else {})
    return compared(calls, settings.protocol, check), errors


def contenders(problem: Problem) -> dict[str, Call]:
    own = {engine: partial(gradient, problem, engine) for engine in engines()}
    return own | {name: peer.gradient(problem) for name, peer in peers().items()}


def gemm_call(dtype: str) -> Call:
    """One product of two matrices of size 1024: what the machine can do at best, in the same rounds."""
    left, right = np.random.default_rng(0).standard_normal((2, GEMM_SIZE, GEMM_SIZE)).astype(dtype)
    out = np.empty_like(left)
    return partial(np.matmul, left, right, out=out)


def ratios(
    workload: str, case: str, timed: Timed, errors: Mapping[str, float], goals: Mapping[str, float | None]
) -> Iterator[Row]:
    """Every peer's seconds over every engine's, and the larger error of the two; the goal is the last engine's, the
    fastest."""
    for peer in [name for name in peers() if name in timed.seconds]:
        for engine in engines():
            goal = goals.get(peer) if engine == engines()[-1] else None
            ratio = timed.ratio(peer, engine)
            error = max(errors[peer], errors[engine])
            yield Row(workload, case, f"{peer} / {engine}", "×", ratio, goal, error=error)


def seconds(workload: str, case: str, timed: Timed, errors: Mapping[str, float]) -> Iterator[Row]:
    for name in timed.seconds:
        yield Row(workload, case, name, "s", timed.spread(name), error=errors.get(name))
