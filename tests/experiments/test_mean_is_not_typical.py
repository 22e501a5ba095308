"""Means of norms: claims that hold on fewer networks and draws, and fail on doctored ones."""

import math
from types import SimpleNamespace

import numpy as np
import pytest

from bpttlab import theory
from bpttlab.figures import style
from tests.support.analysed import analysis_of, swept

NETWORK = {"task": {"name": "noise", "input_size": 1}, "sequence_length": 100, "batch_size": 1, "scales": {"V": 0.3},
           "measure": {"sequences": 1, "lags": 10, "bound_lags": 0, "lag_terms": "none", "truncations": "none",
                       "transient_lags": 5}}  # fmt: skip


def reduced():
    groups = (("identity", 2, 0.8), ("identity", 10, 0.8), ("identity", 10, 0.9), ("tanh", 2, 1.0))
    return [{**NETWORK, "cell": {"name": "elman", "activation": activation, "hidden_size": size},
             "initializer": {"name": "gaussian", "gain": gain}, "seed": seed}
            for activation, size, gain in groups for seed in range(40)]  # fmt: skip


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    return swept(reduced(), "mean", tmp_path_factory)


@pytest.fixture(scope="module")
def analysis():
    return analysis_of("mean_is_not_typical")


@pytest.fixture
def fresh():
    """An analysis to be doctored, with nothing drawn yet; and what its functions see."""
    members = analysis_of("mean_is_not_typical")
    return members, members["claims"].__globals__


def failing(rows):
    return [row["claim"] for row in rows if not row["held"]]


@pytest.mark.slow
def test_every_claim_holds_on_fewer_networks(study, analysis):
    claims = analysis["claims"](study)
    assert claims["held"].all(), claims[~claims["held"]].to_string()
    assert len(claims) == 38


def test_claims_of_fresh_products_hold(analysis):
    assert not failing([*analysis["critical_gains"](), *analysis["of_fresh_products"](10, 1.03)])


@pytest.mark.parametrize("size", ["page", pytest.param("column", marks=pytest.mark.slow)])
def test_the_figure_is_drawn(study, analysis, size):
    with style.style_context(size):
        figure = analysis["draw"](study, size)[analysis["FIGURE"]]
    assert len(figure.axes) == 2  # no tanh networks of that size here
    assert figure.get_size_inches()[0] == pytest.approx(style.WIDTHS[size])


def test_the_mean_square_against_its_definition(analysis):
    values = np.random.default_rng(0).standard_normal(40)
    squares = np.sort(np.exp(2 * values))
    assert analysis["log_mean_square"](values) == pytest.approx(math.log(squares.mean()), rel=1e-12)
    assert analysis["share_of_largest"](values, 0.05) == pytest.approx(squares[-2:].sum() / squares.sum(), rel=1e-12)
    assert analysis["log_mean_square"](values - 2000.0) == pytest.approx(math.log(squares.mean()) - 4000.0)


def test_the_table_counts_networks(study, analysis):
    found = analysis["summaries"](study)["mean_and_median"]
    assert list(found["networks"]) == [40, 40, 40, 40]
    own = study.jacobians.query("cell_hidden_size == 2 and cell_activation == 'identity' and lag == t")[
        "log_frobenius_norm"
    ]
    row = found.query("hidden_size == 2 and activation == 'identity'").iloc[0]
    assert row["log_norm"] == pytest.approx(np.median(own)) and row["deviation"] == pytest.approx(np.std(own, ddof=1))


def doctored(study, analysis, change):
    jacobians = study.jacobians.copy()
    jacobians["log_frobenius_norm"] = change(jacobians)
    return analysis["last_products"](SimpleNamespace(jacobians=jacobians))


def test_networks_that_are_alike_are_not_dominated_by_few(study, analysis):
    """With the same norm in every network the mean is the median, and nothing scatters."""
    alike = doctored(study, analysis, lambda rows: -0.01 * rows["lag"])
    failed = failing(analysis["dominated"](alike))
    for words in ("median of log", "log of the root mean square", "less the median", "share of the mean square"):
        assert any(words in text for text in failed)
    with np.errstate(invalid="ignore"):
        assert len(failing(analysis["spread"](alike))) == 3


def test_networks_of_which_half_lie_above_the_mean_fail(study, analysis):
    """One network that vanishes more than all others moves the mean below them."""

    def change(rows):
        return np.where(rows["network_id"] == rows["network_id"].min(), -50.0, -0.01) * rows["lag"]

    assert any(
        "above the root mean square" in text
        for text in failing(analysis["dominated"](doctored(study, analysis, change)))
    )


def test_a_scatter_that_grows_as_the_root_of_the_lag_fails(study, analysis):
    narrow = doctored(study, analysis, lambda rows: rows["log_frobenius_norm"] / np.sqrt(rows["lag"].clip(lower=1)))
    assert len(failing(analysis["spread"](narrow))) == 3


def test_growth_beside_the_radius_fails(study, analysis):
    runs = study.runs.assign(asymptote_residual=study.runs["asymptote_residual"] + 0.02)
    assert len(failing(analysis["own_radius"](SimpleNamespace(runs=runs)))) == 2


def test_products_in_another_order_are_seen(study, analysis):
    """Of J_T ... J_1 and J_1 ... J_T all powers of one W are the same; those of tanh networks are not."""
    jacobians = study.jacobians.copy()
    tanh = jacobians["cell_activation"] == "tanh"
    jacobians.loc[tanh & (jacobians["lag"] == 2), "log_frobenius_norm"] += 1e-5
    tables = SimpleNamespace(runs=study.runs, jacobians=jacobians)
    assert analysis["computed_again"](study)["held"] and not analysis["computed_again"](tables)["held"]


def test_weights_of_another_variance_are_seen(study, analysis):
    wide = doctored(study, analysis, lambda rows: rows["log_frobenius_norm"] + np.where(rows["lag"] == 1, 0.7, 0.0))
    assert len(failing(analysis["drawn_variance"](wide))) == 2


def test_the_jackknife_of_a_mean_is_its_standard_error(analysis):
    values = np.random.default_rng(1).standard_normal((30, 1))
    mean, error = analysis["jackknife"](values, lambda rows: float(rows.mean()))
    assert mean == pytest.approx(values.mean()) and error == pytest.approx(values.std(ddof=1) / np.sqrt(30))


@pytest.mark.slow
def test_products_of_another_gain_fail(fresh, monkeypatch):
    members, seen = fresh
    right = seen["fresh"]
    seen["fresh"] = lambda size, gain: right(size, 1.15 * gain)
    failed = failing(members["of_fresh_products"](10, 1.03))
    for words in ("mean of ||P||", "median of log", "median growth rate"):
        assert any(words in text for text in failed)
    monkeypatch.setattr(theory, "typical_critical_gain", lambda size: 1.0)
    assert len(failing(members["critical_gains"]())) == 2


@pytest.mark.slow
def test_powers_of_one_matrix_are_no_fresh_products(fresh):
    """Where a step repeats the one before, the scatter grows as the lag, and its variance is not the formula's."""
    members, seen = fresh
    products = seen["fresh"](10, 1.03)
    steps = np.arange(len(products.column))[:, None]
    repeated = products._replace(column=products.column[1] * steps)
    seen["fresh"] = lambda size, gain: repeated
    failed = failing(members["of_fresh_products"](10, 1.03))
    for words in ("var log", "s.d. of log"):
        assert any(words in text for text in failed)


@pytest.mark.slow
def test_draws_without_a_tail_fail(fresh):
    members, seen = fresh
    products = seen["fresh"](10, 1.03)
    lag = np.arange(len(products.frobenius))[:, None]
    flat = np.broadcast_to(0.5 * np.log(10) + lag * np.log(1.03), products.frobenius.shape)
    seen["fresh"] = lambda size, gain: products._replace(frobenius=flat)
    failed = failing(members["of_fresh_products"](10, 1.03))
    for words in ("median log of the same", "share of the mean square"):
        assert any(words in text for text in failed)
