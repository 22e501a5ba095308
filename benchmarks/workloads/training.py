"""One update of a small network: forward, gradient and Adam, against autograd with `torch.optim` and a scan of JAX."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any

from benchmarks import agreement
from benchmarks.engines import engines
from benchmarks.peers import peers
from benchmarks.problems import Shape
from benchmarks.protocol import Spread, Timed, compared
from benchmarks.rows import Row, Settings
from benchmarks.trainings import LEARNING_RATE, UPDATES, Lesson, draw_lesson, make_lesson_setup, train_lesson

SHAPES = [Shape(32, 1, 50), Shape(32, 8, 200), Shape(64, 8, 100), Shape(128, 1, 100), Shape(128, 32, 200)]
KINDS = ("elman", "gru", "lstm")
TOLERANCE = 1e-6
"""Of the losses of the first updates."""

MOST_OF_GRADIENT = 0.05
"""What a step of the optimizer may cost."""


def rows(settings: Settings) -> Iterator[Row]:
    for kind in KINDS:
        for shape in settings.choose(SHAPES, [Shape(16, 4, 20)]):
            lesson, case = draw_lesson(kind, shape), f"{kind} float64 {shape}"
            yield from compare_trainings(lesson, case, settings)
            yield share_of_optimizer(lesson, case, settings)


def compare_trainings(lesson: Lesson, case: str, settings: Settings) -> Iterator[Row]:
    """Every peer's seconds over every engine's, and milliseconds of an update."""
    errors: dict[str, float] = {}

    def check(answers: Mapping[str, Any]) -> None:
        errors.update(agreement.errors(answers, answers["numpy"]))
        agreement.check(errors, TOLERANCE)

    timed = compared(trainers(lesson), settings.protocol, check)
    for peer in [name for name in timed.seconds if name not in engines()]:
        for engine in engines():
            goal = settings.goal(goal_of(peer, lesson.problem.shape)) if engine == engines()[-1] else None
            ratio, error = timed.ratio(peer, engine), max(errors[peer], errors[engine])
            yield Row("training", case, f"{peer} / {engine}", "×", ratio, goal, error=error)
    for name in timed.seconds:
        yield Row("training", case, name, "ms", of_update(timed, name), error=errors[name])


def trainers(lesson: Lesson) -> dict[str, Callable[[], Any]]:
    """Everything that trains on a lesson: this package's engines, and peers."""
    own = {engine: partial(train_lesson, *make_lesson_setup(lesson, engine)) for engine in engines()}
    others = {name: peer.train for name, peer in peers().items() if hasattr(peer, "train")}
    return own | {name: train(lesson) for name, train in others.items()}


def goal_of(peer: str, shape: Shape) -> float:
    return 10.0 if peer == "PyTorch" and shape.N <= 64 and shape.B <= 8 else 1.0


def of_update(timed: Timed, name: str) -> Spread:
    """Milliseconds of one update."""
    return Spread.of([1e3 * seconds / UPDATES for seconds in timed.seconds[name]])


def share_of_optimizer(lesson: Lesson, case: str, settings: Settings) -> Row:
    """The time of Adam's step as a part of that of the gradient, both by the fastest engine."""
    setup, state = make_lesson_setup(lesson, engines()[-1])
    params, batch = setup.layout.params(state.vector), setup.batch(1)
    vector = setup.layout.pull_back(state.vector, setup.gradient(params, batch, 1).gradient)
    calls = {
        "optimizer": partial(setup.move, state, vector, LEARNING_RATE),
        "gradient": partial(setup.gradient, params, batch, 1),
    }
    share = compared(calls, settings.protocol).ratio("optimizer", "gradient")
    return Row("training", case, "Adam", "of gradient", share, settings.goal(MOST_OF_GRADIENT), more=False)
