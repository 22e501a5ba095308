"""`bpttlab verify`: verdicts, what is written, and that a wrong number is found."""

import dataclasses
import math
from collections import Counter

import numpy as np
import pandas as pd
import pytest

from bpttlab import plugins, resources, theory, verification
from bpttlab.claims import analyses, claims
from bpttlab.cli import main, verify
from bpttlab.measures.given_jacobians import trace_of_jacobians
from bpttlab.networks.cells import GRU, Elman
from bpttlab.numerics.verdicts import median_interval, median_of
from bpttlab.sweeps import scheduler
from bpttlab.verification import (
    TOPICS,
    Check,
    examples,
    experiments,
    gradient_check,
    lag_terms,
    report,
    run_checks,
    table,
)
from bpttlab.verification.check import agree, check_median, equal, estimate
from tests.support.commandline import visible

pytestmark = pytest.mark.usefixtures("folder")

FAST = ("truncation", "theory", "statistics")


def check(measured, low=math.nan, high=math.nan, expected=1.0, tolerance=0.1):
    return Check("a number", "arithmetic", expected, measured, tolerance, low, high)


# ------------------------------------------------------------------------------------------ verdicts


@pytest.mark.parametrize(
    ("one", "verdict"),
    [
        (check(1.05), "holds"),
        (check(1.2), "fails"),
        (check(0.8), "fails"),
        (check(math.nan), "undecided"),
        (check(math.inf), "fails"),
        (check(-math.inf, expected=-math.inf), "holds"),
        (check(math.nan, expected=math.nan), "undecided"),
        (check(1.0, 0.95, 1.05), "holds"),
        (check(1.0, 0.8, 1.05), "undecided"),
        (check(1.3, 1.05, 1.5), "undecided"),
        (check(1.3, 1.2, 1.5), "fails"),
        (check(0.7, 0.5, 0.8), "fails"),
        (check(1.0, 0.0, 2.0), "undecided"),
        (check(1.0, -math.inf, math.inf), "undecided"),
    ],
)
def test_verdicts(one, verdict):
    assert one.verdict == verdict
    assert one.held == (verdict == "holds")


def test_tolerances_are_relative_or_absolute():
    assert equal("", "", -200.0, -200.1, relative=1e-3).held
    assert not equal("", "", -200.0, -200.1, relative=1e-4).held
    assert equal("", "", 0.0, 1e-13, absolute=1e-12).held
    assert equal("", "", -math.inf, -math.inf).held
    assert not equal("", "", -math.inf, -700.0).held
    assert agree("", "", 1e-13, 1e-12).held
    assert not agree("", "", math.nan, 1e-12).held
    assert estimate("", "", 1.0, 1.01, 0.01, 0.05).held
    assert estimate("", "", 1.0, 1.01, 0.04, 0.05).verdict == "undecided"


@pytest.mark.parametrize("count", [6, 8, 12, 20])
def test_the_interval_of_a_median_holds_it_as_often_as_said(count):
    rng = np.random.default_rng(0)
    draws = rng.exponential(size=(20_000, count))
    ends = np.array([median_interval(one) for one in draws])
    inside = ((ends[:, 0] <= math.log(2.0)) & (math.log(2.0) <= ends[:, 1])).mean()
    assert inside >= 0.945
    assert inside < 1.0


def test_few_networks_decide_nothing():
    assert median_interval([1.0] * 5) == (-math.inf, math.inf)
    assert check_median("", "", 1.0, [1.0] * 5, 0.1).verdict == "undecided"
    assert check_median("", "", 1.0, [1.0] * 8, 0.1).held


# ------------------------------------------------------------------------------------------ what is checked


def repeated_names(found):
    return [name for name, times in Counter(one.what for one in found).items() if times > 1]


@pytest.mark.parametrize("topic", FAST)
def test_the_checks_of_a_topic_hold(topic):
    found = list(run_checks(topic, quick=True))
    assert [one for one in found if not one.held] == []
    assert all(one.source and one.seconds >= 0 for one in found)
    assert repeated_names(found) == []


@pytest.mark.slow
@pytest.mark.parametrize("topic", sorted(set(TOPICS) - {*FAST, "experiments"}))
def test_the_quick_checks_of_the_other_topics_hold(topic):
    found = list(run_checks(topic, quick=True))
    assert [one for one in found if not one.held] == []
    assert repeated_names(found) == []


def test_compiled_loops_are_compared_under_names_of_their_own(monkeypatch):
    monkeypatch.setattr(lag_terms, "compiled_kinds", lambda: ("elman", "lstm", "gru"))
    monkeypatch.setattr(lag_terms, "between_engines", lambda *_: 0.0)
    found = list(lag_terms.compiled_at_larger_sizes(quick=True))
    assert len(found) == 8 and repeated_names(found) == []


def verdicts(topic, source):
    return {one.verdict for function in TOPICS[topic] if function.__name__ == source for one in function(True)}


def test_a_wrong_formula_is_found(monkeypatch):
    assert verdicts("theory", "known_numbers") == {"holds"}
    monkeypatch.setattr(theory, "latch", lambda w: (0.8586, 0.3944))
    assert verdicts("theory", "known_numbers") == {"holds", "fails"}


@pytest.mark.parametrize("source", ["back_propagation", "other_ways", "order_of_the_product"])
def test_a_transposed_jacobian_is_found(source, monkeypatch):
    right = Elman.vjp
    monkeypatch.setattr(Elman, "vjp", lambda self, params, s, dh: right(self, params | {"W": params["W"].T}, s, dh))
    assert "fails" in verdicts("gradients", source)


def test_a_scheme_that_keeps_a_lag_too_many_is_found(monkeypatch):
    from bpttlab.truncation.segmented import PerLoss

    right = PerLoss.segments
    monkeypatch.setattr(PerLoss, "segments", lambda self, T: right(PerLoss(self.truncation + 1), T))
    assert "fails" in verdicts("gradients", "other_ways")
    assert "fails" in verdicts("truncation", "rotating_chain")


def test_every_cell_is_checked_without_a_list():
    named = {source.__name__ for source in TOPICS["gradients"]}
    assert {f"cell {name}" for name in examples.kinds()} <= named
    assert len(examples.variants(examples.kinds()["gru"])) == 2
    layers = {name for name, kind in examples.kinds().items() if not kind.wraps}
    assert {cell.cells[0].name for cell in examples.variants(examples.kinds()["stacked"])} == layers
    assert {cell.of.name for cell in examples.variants(examples.kinds()["noisy"])} == layers


def test_cells_within_cells_are_small_and_each_is_there_once():
    """The complex step takes a pass for each number; a projected LSTM of default size within others took minutes."""
    for name, kind in examples.kinds().items():
        cells = examples.variants(kind)
        assert max(cell.state_size for cell in cells) <= 32, name
        assert all(cells.count(cell) == 1 for cell in cells), name


@pytest.mark.parametrize(
    ("seed", "mask"), [(1, [1.0, 0.0, 0.5, 0.0, 1.0]), (2, [0.0, 0.0, 0.0, 0.0, 1.0]), (3, [0.25, 1.0, 1.0, 1.0, 0.0])]
)
def test_path_derivatives_are_those_of_the_whole_forward_pass(seed, mask):
    """The sum over the steps k is the complex step through all steps at once."""
    one = examples.example(GRU(2, 3, 4), loss="softmax_cross_entropy", mask=np.array(mask), seed=seed)
    expected = gradient_check.numerical_gradient(
        one.trace.cell, one.trace.params, one.trace.x, lambda y_hat: one.terms(y_hat).sum(), one.trace.h[0]
    )
    gradient_check.assert_agree(one.whole, expected, 1e-12)


def test_products_of_given_matrices_are_in_their_order():
    A, B = np.array([[0.0, 2.0], [0.0, 0.0]]), np.array([[1.0, 0.0], [3.0, 1.0]])
    trace = trace_of_jacobians(np.stack([A, B])[:, None])
    assert trace.product(2, 0)[0].tolist() == (B @ A).tolist()
    assert trace.cell.vjp(trace.params, trace.linearization[0, 0], np.eye(2))[1].tolist() == A.tolist()


def test_a_scheme_without_a_definition_is_found(monkeypatch):
    from bpttlab.verification import schemes

    monkeypatch.setattr(plugins, "find_shipped", lambda kind: {"per_loss": None, "hebbian": None})
    assert [one.verdict for one in schemes.every_scheme_has_a_definition(True)] == ["fails"]


def test_an_error_fails_and_does_not_end_the_others(monkeypatch):
    def broken(quick):
        yield check(1.0)
        raise ZeroDivisionError("there is\nnothing")

    monkeypatch.setitem(TOPICS, "theory", [broken, lambda quick: [check(1.0)]])
    found = list(run_checks("theory", quick=True))
    assert [one.verdict for one in found] == ["holds", "fails", "holds"]
    assert found[1].what == "broken: ended by ZeroDivisionError: there is"


# ------------------------------------------------------------------------------------------ the command


@pytest.fixture
def two_topics(monkeypatch):
    """Every topic has two checks that hold; the list of one can be changed."""
    for topic in TOPICS:
        monkeypatch.setitem(TOPICS, topic, [lambda quick: [check(1.0), check(1.0 + 0.05 * quick, 0.95, 1.08)]])
    return TOPICS


def test_verify_prints_and_writes_what_holds(two_topics, folder, capsys):
    assert main(["verify", "theory", "--verbose"]) == 0
    shown = capsys.readouterr().out
    assert "2 of 2 checks hold; written to" in shown
    assert shown.count("a number") == 2
    assert main(["verify", "theory"]) == 0
    assert capsys.readouterr().out.splitlines()[:2] == ["theory: 2 of 2 checks hold", ""]
    files = [f"results/verify/checks-theory.{ending}" for ending in ("csv", "html", "md")]
    assert visible(folder) == ["results", "results/verify", *files]
    frame = pd.read_csv(folder / files[0])
    assert list(frame) == [
        "topic", "what", "source", "expected", "measured", "low", "high", "tolerance", "seconds", "verdict", "held",
        "kind", "chance", "p_inside", "p_outside",
    ]  # fmt: skip
    assert frame["held"].all()
    assert "## theory" in (folder / files[2]).read_text()
    page = (folder / files[1]).read_text()
    assert page.count("<tr") == 3
    assert "http" not in page


@pytest.mark.parametrize(
    ("words", "stem", "rows"),
    [
        ([], "checks", 14),
        (["--quick"], "checks-quick", 14),
        (["spectra", "gradients", "spectra", "--quick"], "checks-quick-gradients-spectra", 4),
    ],
)
def test_every_kind_has_a_file_of_its_own(two_topics, folder, words, stem, rows):
    assert main(["verify", *words, "results=elsewhere"]) == 0
    assert len(pd.read_csv(folder / "elsewhere" / "verify" / f"{stem}.csv")) == rows


@pytest.mark.parametrize("doctored", [check(1.2), check(1.0, 0.5, 1.5), check(math.nan)])
def test_verify_fails_if_one_check_does_not_hold(two_topics, doctored, monkeypatch, capsys, folder):
    monkeypatch.setitem(TOPICS, "spectra", [lambda quick: [check(1.0), doctored]])
    assert main(["verify", "spectra", "theory"]) == 1
    shown = capsys.readouterr().out
    assert shown.count("a number") == 1 and f"spectra: 1 of 2 checks hold, 1 {doctored.verdict}" in shown
    assert f"3 of 4 checks hold, 1 {doctored.verdict}" in shown
    page = (folder / "results/verify/checks-spectra-theory.html").read_text()
    assert page.count(f'class="{doctored.verdict}"') == 1


def test_fail_fast_stops_at_the_first_check_that_fails(two_topics, monkeypatch, capsys, folder):
    undecided, failing = check(1.0, 0.5, 1.5), check(1.2)
    monkeypatch.setitem(TOPICS, "spectra", [lambda quick: [undecided, failing, check(1.0)]])
    assert main(["verify", "--fail-fast", "spectra", "theory"]) == 1
    assert "0 of 2 checks hold" in capsys.readouterr().out
    written = pd.read_csv(folder / "results/verify/checks-interrupted-spectra-theory.csv")
    assert written["verdict"].tolist() == ["undecided", "fails"]


def test_what_was_done_before_an_interruption_is_written(two_topics, monkeypatch, capsys, folder):
    def slow(quick):
        yield check(1.2)
        raise KeyboardInterrupt

    monkeypatch.setitem(TOPICS, "theory", [lambda quick: [check(1.0)], slow])
    assert main(["verify", "spectra", "theory"]) == 130
    shown = capsys.readouterr()
    assert "interrupted: 3 of 4 checks hold, 1 fails; written to" in shown.out
    assert shown.err.splitlines()[-1] == "bpttlab: interrupted"
    written = folder / "results/verify/checks-interrupted-spectra-theory"
    assert pd.read_csv(written.with_suffix(".csv"))["topic"].tolist() == ["spectra", "spectra", "theory", "theory"]
    assert "interrupted: 3 of 4" in written.with_suffix(".md").read_text().splitlines()[0]


def test_every_line_of_the_markdown_page_is_escaped(monkeypatch, tmp_path):
    monkeypatch.setattr(report, "surroundings_line", lambda: "cpu <b>fast</b> | a*b*")
    monkeypatch.setattr(report, "describe_chance_failures", lambda frame: "by _chance_ <i>")
    monkeypatch.setattr(report, "summary", lambda frame: "1 <u> [of](x)")
    _, page, _ = report.write_report(table([("spec*tra*", check(1.0))]), tmp_path, ["spectra"], quick=False)
    written = page.read_text(encoding="utf-8")
    assert r"# bpttlab verify: 1 &lt;u&gt; \[of\](x)" in written
    assert r"cpu &lt;b&gt;fast&lt;/b&gt; \| a\*b\*" in written
    assert r"by \_chance\_ &lt;i&gt;" in written
    assert r"## spec\*tra\*" in written


def test_a_real_topic_through_the_command(folder, capsys):
    assert main(["verify", "truncation", "--quick", "--verbose"]) == 0
    assert "influence balancing: dL/dtheta" in capsys.readouterr().out


def test_what_verify_refuses(capsys):
    assert main(["verify", "specta"]) == 2
    assert "Did you mean 'spectra'?" in capsys.readouterr().err
    assert main(["verify", "--quik"]) == 2
    assert "Did you mean '--quick'?" in capsys.readouterr().err
    assert main(["verify", "result=x"]) == 2
    assert "Did you mean 'results'?" in capsys.readouterr().err


def test_the_command_knows_the_topics_by_heart():
    assert tuple(verification.TOPICS) == verify.TOPIC_NAMES
    assert all(f"\n  {topic} " in verify.TEXT for topic in TOPICS)


def test_text_of_a_page_is_escaped():
    frame = table([("theory", Check("<a> & b", "s", 1.0, 1.0, 0.1))])
    assert "&lt;a&gt; &amp; b" in report.page(frame, "title")


# ------------------------------------------------------------------------------------------ experiments


def test_claims_of_an_experiment_are_checks(monkeypatch):
    rows = [
        claims.at_most("rate", "definition", 1.0, 2.0),
        claims.near("mean", "a paper", median_of(range(8)), 3.5, 1.0),
    ]
    analysis = analyses.Analysis("odd", lambda study: pd.DataFrame(rows), dict, dict, "growth")
    monkeypatch.setattr(analyses, "find_analysis", lambda name: analysis)
    monkeypatch.setattr(experiments, "sweep_experiment", lambda name, folder: None)
    first, second = experiments.check_experiment("odd", quick=False)
    assert (first.what, first.expected, first.verdict, first.held) == ("odd: rate", "<= 2", "holds", True)
    assert (second.expected, second.verdict, second.low, second.held) == ("3.5 +- 1", "undecided", 0.0, False)
    frame = table([("experiments", first), ("experiments", second)])
    assert "[0, 7]" in report.text(frame)
    assert "<= 2" in report.text(frame)
    assert list(experiments.check_experiment("odd", quick=True)) == []


def test_every_experiment_is_a_step_of_its_topic():
    assert [source.__name__ for source in TOPICS["experiments"]] == list(resources.analyses())


def test_experiments_have_no_quick_form(capsys):
    assert main(["verify", "--quick", "experiments"]) == 2
    assert "leave out --quick" in capsys.readouterr().err


@pytest.mark.slow
def test_an_experiment_is_swept_as_it_is_shipped(monkeypatch, tmp_path):
    """The whole sweep is planned; one run of it is computed."""
    seen = []

    def carry_out(planned, options, progress):
        seen.append(planned)
        return scheduler.carry_out(dataclasses.replace(planned, to_do=planned.to_do[:1]), options, progress)

    monkeypatch.setattr(experiments, "carry_out", carry_out)
    study = experiments.sweep_experiment("vanishing_exploding", str(tmp_path))
    assert len(seen[0].runs) > 100
    assert len(study.runs) == 1


@pytest.mark.slow
def test_nothing_is_claimed_of_a_sweep_that_was_interrupted(monkeypatch, tmp_path):
    from bpttlab.sweeps.scheduler import Summary, Tally

    def interrupted(planned, options, progress):
        return Summary(planned, Tally(interrupted=2), tmp_path)

    monkeypatch.setattr(experiments, "carry_out", interrupted)
    with pytest.raises(KeyboardInterrupt):
        list(experiments.check_experiment("cliffs", quick=False))
