"""The cliff: claims that hold on a few units, and fail on doctored ones."""

import numpy as np
import pytest

from bpttlab import theory
from bpttlab.verification.gradients import Surface, cliff
from tests.support.analysed import analysis_of, draw, swept, tables_of

UNIT = {"cell": {"name": "elman", "hidden_size": 1}, "task": "adding", "initializer": "identity", "batch_size": 1,
        "sequence_length": 100, "readout": "units"}  # fmt: skip


def reduced():
    beside = [{**UNIT, "scales": {"V": 0.0, "b": b}, "spectral_radius": 1.5, "seed": seed}
              for b in (0.0, 1e-9, 1e-6, 1.0) for seed in range(6)]  # fmt: skip
    held = [{**UNIT, "scales": {"V": 0.0, "h_0": 1.0}, "spectral_radius": 1.5, "seed": seed} for seed in range(6)]
    return beside + held


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    return swept(reduced(), "cliffs", tmp_path_factory)


@pytest.fixture(scope="module")
def analysis():
    return analysis_of("cliffs")


@pytest.fixture
def fresh():
    """An analysis to be doctored, with nothing computed yet; and what its functions see."""
    members = analysis_of("cliffs")
    return members, members["claims"].__globals__


def failing(rows):
    return [row["claim"] for row in rows if not row["held"]]


def frames(study, **changed):
    return tables_of(study, ("runs", "truncations", "jacobians"), **changed)


@pytest.mark.slow
def test_every_claim_holds_on_a_few_units(study, analysis):
    claims = analysis["claims"](study)
    assert claims["held"].all(), claims[~claims["held"]].to_string()
    assert len(claims) == 26


def test_the_tables_say_how_many_units_and_where_descents_end(study, analysis):
    found = analysis["summaries"](study)
    assert (found["wall"]["networks"] == 6).all() and list(found["wall"]["distance"]) == [0.0, 1e-9, 1e-6, 1.0]
    assert len(found["descents"]) == 24


@pytest.mark.parametrize("size", ["page", pytest.param("column", marks=pytest.mark.slow)])
def test_the_figure_is_drawn(study, analysis, size):
    draw(analysis, study, size)


@pytest.mark.parametrize(
    ("where", "change", "words"),
    [
        ({"scales_b": 0.0}, lambda x: x + 1e-6, "T log w| on the wall"),
        ({"scales_b": 1.0}, lambda x: x + 1e4, "far from the wall, w = 1.5"),
        ({"scales_b": 1e-9}, lambda x: x + 2.0, "median exponent"),
    ],
)
def test_growth_claims_fail_on_doctored_runs(study, analysis, where, change, words):
    runs = study.runs.copy()
    for name, value in where.items():
        chosen = (runs[name] == value) & (runs["scales_h_0"] == 0.0)
    runs.loc[chosen, "log_growth"] = change(runs.loc[chosen, "log_growth"])
    wall = analysis["distances"](frames(study, runs=runs))
    failed = failing([*analysis["at_the_wall"](wall), analysis["beside_it"](wall)])
    assert len(failed) == 1 and words in failed[0]


def test_a_truncation_that_leaves_out_the_same_everywhere_fails(study, analysis):
    for bias, words in ((-1.0, "on the wall"), (0.0, "far from the wall")):
        terms = study.truncations.assign(log_relative_bias=bias)
        failed = failing(analysis["truncated"](analysis["distances"](frames(study, truncations=terms))))
        assert any(words in text for text in failed)


def test_another_slope_is_not_the_latch(study, analysis):
    jacobians = study.jacobians.assign(log_spectral_norm=study.jacobians["log_spectral_norm"] * 1.001)
    assert len(failing(analysis["held_states"](frames(study, jacobians=jacobians)))) == 1
    none = study.jacobians[study.jacobians["scales_h_0"] == 0.0]
    assert failing(analysis["held_states"](frames(study, jacobians=none))) == ["units that hold a bit"]


@pytest.mark.slow
def test_a_gradient_that_is_wrong_fails(fresh):
    members, seen = fresh

    def wrong(*arguments):
        right = cliff(*arguments)
        return Surface(right.error, 1.3 * right.dw, 1.3 * right.db)

    seen["cliff"] = wrong
    failed = failing([*members["of_the_surface"](), *members["of_the_wall"]()])
    assert len(failed) == 6 and failed[0].startswith("relative error of the gradient")


def test_plain_gradient_is_the_difference_of_errors(analysis):
    w, b, step = np.array([4.5, 5.0, 6.5]), np.array([-2.4, -2.9, -2.2]), 1e-6
    known = analysis["plain"](w, b)
    for part, moved in ((known.dw, (step, 0.0)), (known.db, (0.0, step))):
        up, down = (analysis["plain"](w + side * moved[0], b + side * moved[1]).error for side in (1.0, -1.0))
        np.testing.assert_allclose(part, (up - down) / (2.0 * step), rtol=1e-5, atol=1e-9)


def test_clipping_entry_by_entry_fails(fresh):
    """It is not the norm that is cut down then, and the step does not lead down the gradient."""
    members, seen = fresh

    def landing(threshold):
        gradient = members["plain"](np.array([members["TOP"][0]]), np.array([members["TOP"][1]]))
        moves = [-members["RATE"] * np.clip(part[0], -threshold, threshold) for part in (gradient.dw, gradient.db)]
        w, b = members["TOP"][0] + moves[0], members["TOP"][1] + moves[1]
        return members["Landing"](w, b, np.hypot(*moves), 0.2)

    seen["landing"], seen["DESCENT"] = landing, 2
    failed = failing(members["of_clipping"]())
    assert any("norm clipped" in text for text in failed) and any("cosine" in text for text in failed)


def test_a_bias_relative_to_what_is_kept_is_not_the_closed_form(study, analysis):
    """(w^T - w^K) / (w^K - 1) where it should be (w^T - w^K) / (w^T - 1)."""
    terms = study.truncations.copy()
    share = np.exp(terms["log_relative_bias"].astype(float))
    on_it = (terms["scales_b"] == 0.0) & (share > 0.0) & (share < 1.0)
    terms.loc[on_it, "log_relative_bias"] = np.log(share[on_it] / (1.0 - share[on_it]))
    failed = failing(analysis["truncated"](analysis["distances"](frames(study, truncations=terms))))
    assert failed and all("on the wall" in text for text in failed)


@pytest.mark.slow
def test_a_wall_elsewhere_fails(fresh, monkeypatch):
    members, _ = fresh
    right = theory.wall
    monkeypatch.setattr(theory, "wall", lambda w, x_0: right(w, x_0)._replace(bias=right(w, x_0).bias + 0.02))
    assert any(text.startswith("steepest b") for text in failing(members["of_the_wall"]()))
    monkeypatch.setattr(theory, "folds", lambda w: (-2.5, -2.4))
    assert len(failing(members["of_the_folds"]())) == 2


def test_without_clipping_no_claim_of_it_holds(fresh):
    members, seen = fresh
    seen["clipped"] = lambda gradient, threshold: np.ones(len(gradient.error))
    seen["DESCENT"] = 2
    failed = failing(members["of_clipping"]())
    assert any("norm clipped" in text for text in failed) and any("with clipping" in text for text in failed)


def test_the_wall_is_where_the_unit_stays():
    """At w = 6 the map doubles a distance in two steps: 50 steps on the wall are closed form, 1e-3 off it are not."""
    wall = theory.wall(6.0, 0.5)
    assert wall.slope == pytest.approx(6.0 * wall.local)
    on_it, off_it = (cliff(6.0, np.array([wall.bias + off]), 0.5, 0.7, 50) for off in (0.0, 1e-3))
    state = 1.0 / (1.0 + np.exp(-0.5))
    assert on_it.error[0] == pytest.approx((state - 0.7) ** 2, rel=1e-4)
    assert on_it.db[0] == pytest.approx(2.0 * (state - 0.7) * wall.sensitivity(50), rel=1e-4)
    assert off_it.norm[0] < 1.0
