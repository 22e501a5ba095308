"""The benchmarks: what the protocol computes from seconds, that a wrong peer is refused, and one small run of each."""

import json
import os
import subprocess
import sys

import numpy as np
import pytest

from benchmarks import (
    agreement,
    contest,
    engines,
    environment,
    figures,
    machine,
    page,
    peak,
    peers,
    problems,
    record,
    report,
)
from benchmarks.engines import by
from benchmarks.problems import Shape, drawn, gradient
from benchmarks.protocol import Protocol, Spread, Timed, compared
from benchmarks.rows import Row, Settings, alone
from benchmarks.trainings import draw_lesson, make_lesson_setup, train_lesson
from benchmarks.workloads import (
    WORKLOADS,
    choices,
    dtypes,
    exponents,
    gradients,
    growth,
    limits,
    products,
    single_run,
    training,
    truncations,
)
from bpttlab.gradients.backward import backward
from bpttlab.gradients.forward import forward
from bpttlab.verification.gradient_check import numerical_gradient
from tests.support.benchmarks import recorded, row, silent_mkl  # noqa: F401  # the fixture
from tests.support.commandline import REPOSITORY
from tests.support.compiled import dtypes as compiled_dtypes
from tests.support.compiled import needs_numba

pytestmark = [pytest.mark.compiles, pytest.mark.usefixtures("silent_mkl")]

# ------------------------------------------------------------------------------------------ the protocol


class Clock:
    """A clock that moves only when a contender runs, and notes who ran."""

    def __init__(self):
        self.now, self.log = 0.0, []

    def __call__(self):
        return self.now

    def contender(self, name, *seconds):
        """Takes so many seconds at each call, the last ever after."""
        left = list(seconds)

        def call():
            self.log.append(name)
            self.now += left.pop(0) if len(left) > 1 else left[0]
            return name

        return call


def test_rounds_go_in_turn_after_one_answer_and_one_warm_call():
    clock = Clock()
    timed = compared({name: clock.contender(name, 1.0) for name in "ABC"}, Protocol(3, 0.1, 100.0), clock=clock)
    assert "".join(clock.log) == "ABC" + "ABC" + "ABC" * 3
    assert timed.seconds == dict.fromkeys("ABC", (1.0, 1.0, 1.0))
    assert timed.answers == {name: name for name in "ABC"}


def test_a_round_has_as_many_calls_as_take_the_least_time():
    clock = Clock()
    calls = {"quick": clock.contender("q", 0.25), "slow": clock.contender("s", 2.0)}
    timed = compared(calls, Protocol(2, 1.0, 100.0), clock=clock)
    assert "".join(clock.log) == "qs" + "qs" + "qqqqs" * 2
    assert timed.seconds == {"quick": (0.25, 0.25), "slow": (2.0, 2.0)}


def test_first_call_is_not_timed_and_sets_no_count():
    """It compiles."""
    clock = Clock()
    timed = compared({"A": clock.contender("a", 50.0, 0.5)}, Protocol(2, 1.0, 100.0), clock=clock)
    assert timed.seconds == {"A": (0.5, 0.5)}
    assert "".join(clock.log) == "a" + "a" + "aa" * 2


def test_there_are_fewer_rounds_where_they_would_take_too_long():
    clock = Clock()
    calls = {"A": clock.contender("a", 2.0), "B": clock.contender("b", 2.0)}
    assert compared(calls, Protocol(7, 0.1, 13.0), clock=clock).spread("A").rounds == 3
    assert compared(calls, Protocol(7, 0.1, 4.5), clock=clock).spread("A").rounds == 1


def test_slow_contenders_use_warm_calls_as_the_round():
    clock = Clock()
    calls = {"A": clock.contender("a", 50.0, 5.0), "B": clock.contender("b", 60.0, 6.0)}
    timed = compared(calls, Protocol(7, 0.1, 11.0), clock=clock)
    assert "".join(clock.log) == "abab"
    assert timed.seconds == {"A": (5.0,), "B": (6.0,)}


def test_compile_time_of_a_contender_does_not_count():
    clock = Clock()
    timed = compared({"A": clock.contender("a", 1000.0, 1.0)}, Protocol(7, 0.1, 60.0), clock=clock)
    assert timed.spread("A") == Spread(1.0, 1.0, 1.0, 7)


def test_ratios_are_taken_within_a_round():
    """A machine that is slower in the second round changes no ratio: 2 in every round, though the medians have 8."""
    clock = Clock()
    calls = {"A": clock.contender("a", 9, 9, 1, 10, 1), "B": clock.contender("b", 9, 9, 2, 20, 2)}
    timed = compared(calls, Protocol(3, 0.1, 100.0), clock=clock)
    assert timed.ratio("B", "A") == Spread(2.0, 2.0, 2.0, 3)
    assert timed.ratio("A", "B") == Spread(0.5, 0.5, 0.5, 3)
    assert timed.spread("A") == Spread(1.0, 1.0, 10.0, 3)


def test_the_median_ratio_is_not_the_ratio_of_medians():
    clock = Clock()
    calls = {"A": clock.contender("a", 1, 1, 1, 2, 4), "B": clock.contender("b", 1, 1, 4, 2, 8)}
    assert compared(calls, Protocol(3, 0.1, 100.0), clock=clock).ratio("B", "A") == Spread(1.0, 2.0, 4.0, 3)


def test_a_fraction_is_taken_of_one_speed_in_every_round():
    """10 flops in 2 s are 5 a second, in 1 s 10 a second, of 40 a second."""
    assert Timed({"own": (2.0, 1.0)}, {}).fraction("own", 10.0, 40.0) == Spread(0.125, 0.1875, 0.25, 2)


def test_the_peak_is_the_fastest_round_of_the_fastest_product():
    seconds = {"product of A": (4.0, 2.0), "product of B": (3.0, 3.0), "numba": (5.0, 4.0)}
    found = peak.find_peak(Timed(seconds, {}), flops=peak.FLOPS)
    assert (found.speed, found.describe()) == (peak.FLOPS / 2.0, "peak: product of A")


def test_a_gradient_faster_than_every_product_is_the_peak():
    """Then no fraction is above 1, and the row says whose speed it is."""
    timed = Timed({"product of A": (4.0, 4.0), "numba": (2.0, 3.0)}, {})
    found = peak.find_peak(timed, flops=peak.FLOPS)
    assert found.describe() == "peak: numba, faster than every product"
    assert timed.fraction("numba", peak.FLOPS, found.speed).most == 1.0


def test_goals_are_not_judged_by_a_peak_that_was_disturbed():
    """An earlier shape had a much faster product: the fraction is too large. A gradient may beat every product."""
    times = {"product of A": (1.0,), engines.engines()[-1]: (2.0,)}
    found = []
    slow, fast = peak.FLOPS, 1.5 * peak.FLOPS
    for flops, earlier in [(slow, 0.0), (4 * peak.FLOPS, slow), (slow, fast), (4 * peak.FLOPS, fast)]:
        timed = Timed(times, {})
        best = peak.find_peak(timed, flops, earlier)
        rows = list(gradients.fractions("", timed, flops, 0.4, best))
        found.append((rows[0].what, rows[1].spread.median, rows[1].met))
    assert found == [
        ("peak: product of A", 0.5, True),
        (f"peak: {engines.engines()[-1]}, faster than every product", 1.0, True),
        ("peak: product of A, disturbed", 0.5, None),
        (f"peak: {engines.engines()[-1]}, faster than every product, disturbed", 1.0, None),
    ]


@compiled_dtypes
def test_every_product_of_the_peak_multiplies(dtype):
    found = peak.products(dtype)
    assert set(found) >= {"product of NumPy", "product of SciPy"}
    left, right = np.random.default_rng(0).standard_normal((2, peak.SIZE, peak.SIZE)).astype(dtype)
    for name, call in found.items():
        answer = np.asarray(call())
        assert peak.is_product(name) and answer.dtype == dtype
        assert answer[:3] == pytest.approx(left[:3] @ right, abs=1e-2 if dtype == "float32" else 1e-9)


def test_nothing_is_timed_before_the_answers_are_checked():
    clock = Clock()

    def refuse(answers):
        raise agreement.Disagreement(", ".join(answers.values()))

    with pytest.raises(agreement.Disagreement, match="A, B"):
        compared({name: clock.contender(name, 1.0) for name in "AB"}, Protocol(), refuse, clock)
    assert clock.log == ["A", "B"]


def test_flops_of_a_gradient():
    assert drawn("elman", Shape(3, 2, 5)).flops == 6 * 2 * 5 * 9 + 10 * 2 * 5 * 3 * 8


# ------------------------------------------------------------------------------------------ agreement


def test_errors_are_relative_to_the_largest_entry():
    reference = {"W": np.array([4.0, -8.0]), "V": np.array([1e-9])}
    assert agreement.error({"W": np.array([4.0, -8.0]), "V": np.array([2e-9])}, reference) == 1.0
    assert agreement.error({"W": np.array([4.0, -7.0]), "V": np.array([1e-9])}, reference) == 0.125


@pytest.mark.parametrize(
    "answer", [{}, {"W": np.ones(3)}, {"W": np.array([np.nan, 1.0])}], ids=["none", "shape", "NaN"]
)
def test_an_answer_that_cannot_be_compared_is_infinitely_wrong(answer):
    assert agreement.error(answer, {"W": np.ones(2)}) == np.inf


@compiled_dtypes
def test_a_peer_that_is_wrong_is_refused(monkeypatch, dtype):
    """One entry of one gradient, by a little more than the tolerance."""

    class Wrong:
        KINDS = ("elman",)

        @staticmethod
        def gradient(problem):
            def once():
                found = {name: values.copy() for name, values in gradient(problem).items()}
                found["b_h"].flat[0] += 1.5 * agreement.TOLERANCE[dtype] * np.abs(found["b_h"]).max()
                return found

            return once

    monkeypatch.setattr(contest, "peers", lambda: {"Wrong": Wrong})
    with pytest.raises(agreement.Disagreement, match="^Wrong is off by"):
        contest.contest(drawn("elman", Shape(4, 2, 5), dtype), Settings(quick=True))


def test_the_reference_is_the_derivative_of_the_loss():
    problem = drawn("elman", Shape(3, 2, 4))

    def loss(y_hat):
        return ((y_hat - problem.target) ** 2).sum(-1).mean()

    expected = numerical_gradient(problem.cell, problem.params, problem.x, loss)
    del expected["h_0"]
    assert agreement.error(gradient(problem), expected) < 1e-12


PEERS = [(name, kind) for kind in problems.CELLS for name in peers.MODULES] + [(peers.PLAIN_NUMPY, "elman")]
PEERS.remove(("PyTorch", "peephole"))  # it has no such module


@pytest.mark.parametrize(("name", "kind"), PEERS)
def test_peers_compute_the_same_gradient(name, kind):
    """Twice: the second call of a peer that keeps its arrays begins with what the first left in them."""
    if name not in peers.peers():
        pytest.skip(f"{name} is not installed")
    assert kind in peers.peers()[name].KINDS
    problem = drawn(kind, Shape(5, 3, 7))
    once = peers.peers()[name].gradient(problem)
    for answer in (once(), once()):
        assert agreement.error(answer, gradient(problem)) < 1e-12


def test_a_peer_takes_part_where_it_knows_the_cell():
    assert peers.PLAIN_NUMPY in contest.contenders(drawn("elman", Shape(3, 1, 2)))
    assert peers.PLAIN_NUMPY not in contest.contenders(drawn("gru", Shape(3, 1, 2)))


# ------------------------------------------------------------------------------------------ engines


def test_the_figure_shows_the_last_engine_of_each_case():
    def row(case, what):
        return Row("gradient", case, what, "×", Spread(1.0, 1.0, 1.0, 1))

    compiled, plain = row("elman", "PyTorch / numba"), row("lstm", "PyTorch / numpy")
    assert figures.last_engine_of_each([row("elman", "PyTorch / numpy"), compiled, plain]) == [compiled, plain]


def test_numpy_is_an_engine_and_the_first():
    assert engines.engines()[0] == "numpy"


def test_an_engine_is_handed_on_where_a_function_takes_one():
    def takes(x, engine="numpy"):
        return x, engine

    assert by("numba", takes)(1) == (1, "numba")
    assert by("numba", lambda x: x)(1) == 1


@pytest.mark.parametrize(("refusal", "found"), [(None, ("numpy", "numba")), (ImportError, ("numpy",))])
def test_an_engine_counts_where_forward_takes_it_and_it_works(monkeypatch, refusal, found):
    def told(cell, params, x, engine="numpy"):
        if engine != "numpy" and refusal:
            raise refusal(engine)

    monkeypatch.setattr(engines, "forward", told)
    assert engines.engines.__wrapped__() == found


def test_there_is_numpy_alone_where_forward_takes_no_engine(monkeypatch):
    monkeypatch.setattr(engines, "forward", lambda cell, params, x: None)
    assert engines.engines.__wrapped__() == ("numpy",)


@pytest.mark.parametrize("engine", ["numpy", pytest.param("numba", marks=needs_numba)])
def test_engines_agree(engine):
    problem = drawn("elman", Shape(5, 3, 7))
    trace = forward(problem.cell, problem.params, problem.x)
    errors = 2.0 * (trace.y_hat - problem.target) / (7 * 3)
    reference = {name: values for name, values in backward(trace, errors).items() if name != "h_0"}
    assert agreement.error(gradient(problem, engine), reference) < 1e-12


# ------------------------------------------------------------------------------------------ rows, page, record


def test_goals_are_met_by_medians():
    assert [row(2.0, True, 2.0).met, row(2.0, True, 1.9).met, row(2.0, False, 1.9).met] == [True, False, True]
    assert row(None, True, 1.0).met is None
    assert report.tally([row(2.0, True, 2.0), row(2.0, True, 1.0), row(None, True, 9.0)]) == "1 of 2 goals are met"
    assert Settings(quick=True).goal(2.0) is None
    assert "goal ≥ 2: not met" in report.line(row(2.0, True, 1.9))


def test_a_record_is_read_as_it_was_written_and_names_no_place(tmp_path):
    found, path = recorded([row(2.0, True, 2.5), row(None, False, 1.0)]), tmp_path / "deeper" / "record.json"
    found.write(path)
    assert record.read(path) == found
    plain = json.loads(path.read_text(encoding="utf-8"))
    assert set(plain["machine"]) == {"cpu", "processors", "system", "blas", "versions", "environment"}
    assert "/" not in json.dumps(plain["machine"])


def test_a_workload_replaces_its_own_rows_only(tmp_path):
    path = tmp_path / "record.json"
    recorded([row(None, True, 1.0), Row("memory", "", "", "GB", alone(3.0))]).write(path)
    found = record.of(machine.described(), path)
    found.replace("memory", {}, [Row("memory", "", "", "GB", alone(4.0))])
    assert [(one.workload, one.spread.median) for rows in found.rows.values() for one in rows] == [
        ("gradient", 1.0),
        ("memory", 4.0),
    ]


def test_a_record_of_other_versions_is_begun_anew(tmp_path):
    path = tmp_path / "record.json"
    recorded([row(None, True, 1.0)]).write(path)
    assert record.of(machine.described() | {"versions": {}}, path).rows == {}


def test_names_of_records():
    assert machine.slug("Intel(R) Xeon(R) Gold 6248 CPU @ 2.50GHz") == "intel-xeon-gold-6248-cpu-2-50ghz"


def test_the_page_is_replaced_between_its_marks_only():
    text = f"before\n{page.BEGIN}\nold\n{page.END}\nafter \\1\n"
    assert page.between(text, r"new \g<0>") == f"before\n{page.BEGIN}\nnew \\g<0>\n{page.END}\nafter \\1\n"


def test_the_page_and_its_figures_are_made_of_rows_alone(tmp_path):
    (tmp_path / "performance.md").write_text(f"{page.BEGIN}{page.END}", encoding="utf-8")
    shapes = [Shape(16, 1, T) for T in (10, 20, 40)]
    grown = [Row("growth", str(shape), "numpy", "s", alone(shape.T * 1e-3)) for shape in shapes]
    rows = [row(2.0, True, 2.5), *grown, Row("growth", "T from 10 to 40", "numpy", "exponent", alone(1.0))]
    rows.append(Row("gradient", "elman float32 N=2 B=1 T=3", "JAX / numpy", "×", alone(2.0)))
    rows.append(row(None, True, 1.5, "plain NumPy / numpy"))
    written = page.write(tmp_path, recorded(rows), "record.json")
    assert [path.name for path in written] == ["performance.md", "benchmark_ratios.png", "benchmark_growth.png"]
    text = written[0].read_text(encoding="utf-8")
    assert "| elman float64 N=2 B=1 T=3: JAX / numpy | 2.5 (1.25–5) × | ≥ 2 | met | 7 |  |" in text


# ------------------------------------------------------------------------------------------ workloads, at small sizes


def test_seconds_that_grow_as_a_power_have_its_exponent():
    assert growth.exponent([1, 2, 4, 8, 16], (9.0, 9.0, 4.0, 32.0, 256.0)) == pytest.approx(3.0)


def test_product_norms_agree_with_products():
    trace, _ = problems.traced(drawn("elman", Shape(6, 1, 25)))
    literal = [np.log(np.linalg.norm(trace.product(25, 25 - lag)[0], 2)) for lag in range(26)]
    jacobians = np.concatenate([trace.jacobian(t) for t in range(1, 26)])
    assert products.product_and_svd(jacobians) == pytest.approx(literal, abs=1e-10)
    assert products.all_lags(trace, "numpy") == pytest.approx(literal, abs=1e-10)
    if "JAX" in peers.peers():
        assert peers.peers()["JAX"].log_spectral_norms(jacobians)() == pytest.approx(literal, abs=1e-10)


def test_chosen_lags_agree_with_stepwise_products():
    trace, _ = problems.traced(drawn("elman", Shape(5, 1, 12)))
    found = products.of_all_t(trace, (1, 3, 7), False)
    literal = [[np.log(np.linalg.norm(trace.product(t, t - lag)[0])) for t in range(7, 13)] for lag in (1, 3, 7)]
    assert found == pytest.approx(np.array(literal), abs=1e-12)
    assert products.stepwise(trace, (1, 3, 7)) == pytest.approx(found, abs=1e-12)


@pytest.mark.parametrize(
    "workload",
    [
        products.rows,
        products.chosen_lags,
        truncations.rows,
        exponents.rows,
        single_run.rows,
        *(
            pytest.param(module.rows, marks=pytest.mark.slow) for module in (gradients, limits, dtypes, training)
        ),  # in float32 too
    ],
)
def test_a_quick_workload_judges_nothing(workload):
    rows = list(workload(Settings(quick=True)))
    assert rows and all(row.goal is None and row.spread.least > 0 for row in rows)


def test_a_training_that_is_another_one_is_refused(monkeypatch):
    lesson = draw_lesson("elman", Shape(4, 2, 6))
    own = training.trainers(lesson)["numpy"]
    wrong = {"numpy": own, "wrong": lambda: {"losses": own()["losses"] * (1 + 2e-6)}}
    monkeypatch.setattr(training, "trainers", lambda lesson: wrong)
    with pytest.raises(agreement.Disagreement, match="wrong is off by 2"):
        list(training.compare_trainings(lesson, "case", Settings(quick=True)))


def test_a_lesson_trains_from_its_weights_on_its_batches():
    lesson = draw_lesson("gru", Shape(4, 2, 6))
    setup, state = make_lesson_setup(lesson, "numpy")
    found = train_lesson(setup, state)["losses"]
    trace = forward(lesson.problem.cell, lesson.problem.params, lesson.x[0])
    assert found[0] == pytest.approx(((trace.y_hat - lesson.target[0]) ** 2).sum(-1).mean(), rel=1e-12)
    assert len(found) == len(set(found)) == 20
    assert np.array_equal(train_lesson(setup, state)["losses"], found)


def test_every_choice_is_a_configuration():
    for change in choices.CHANGED.values():
        choices.measured(change)


def test_every_workload_has_a_section_of_the_page():
    assert list(page.SECTIONS) == list(WORKLOADS)


@pytest.mark.slow
def test_the_command_runs_from_the_shell_without_peers():
    """End to end, with PyTorch and JAX hidden: it says so, and goes on."""
    code = (
        "import sys; from benchmarks import peers; peers.find_spec = lambda name: None\n"
        "from benchmarks.suite import main; sys.exit(main(['--quick', '--only', 'gradient', 'memory']))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=REPOSITORY, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr
    assert "peers: plain NumPy\n" in done.stdout
    assert "PyTorch is not installed" in done.stdout
    assert "of GEMM peak" in done.stdout and "nothing was judged" in done.stdout


def test_a_measurement_has_one_processor_and_a_command_has_all(monkeypatch):
    bound = {3, 5, 8}

    def bind(process, processors):
        bound.clear()
        bound.update(processors)

    monkeypatch.setattr(environment, "_allowed", set())
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: {*bound}, raising=False)
    monkeypatch.setattr(os, "sched_setaffinity", bind, raising=False)
    with environment.every_processor():  # nothing was bound
        assert bound == {3, 5, 8}
    environment.bind_to_one_processor()
    assert bound == {8}
    with environment.every_processor():
        assert bound == {3, 5, 8}
    assert bound == {8}
