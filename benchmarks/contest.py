"""A gradient by everything that can compute it: this package's engines and the peers, checked and timed in turn."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import partial

import numpy as np

from benchmarks import agreement, peak
from benchmarks.engines import engines
from benchmarks.peers import peers
from benchmarks.problems import Problem, gradient
from benchmarks.protocol import Call, Timed, compared
from benchmarks.rows import Row, Settings


def contest(problem: Problem, settings: Settings, products: bool = False) -> tuple[Timed, dict[str, float]]:
    """Seconds of every contender, and the error of each against NumPy's gradient in float64.

    With `products`, products of matrices are timed in the same rounds, for the peak.
    """
    reference = gradient(problem.wide())
    errors: dict[str, float] = {}

    def check(answers: Mapping[str, dict[str, np.ndarray]]) -> None:
        gradients = {name: answer for name, answer in answers.items() if not peak.is_product(name)}
        errors.update(agreement.errors(gradients, reference))
        agreement.check(errors, agreement.TOLERANCE[problem.dtype])

    calls = contenders(problem) | (peak.products(problem.dtype) if products else {})
    return compared(calls, settings.protocol, check), errors


def contenders(problem: Problem) -> dict[str, Call]:
    own = {engine: partial(gradient, problem, engine) for engine in engines()}
    return own | {name: peer.gradient(problem) for name, peer in peers().items() if problem.kind in peer.KINDS}


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
