"""Normal and non-normal W of one spectral radius: claims hold on a reduced sweep, and fail on doctored tables."""

from types import SimpleNamespace

import numpy as np
import pytest

from bpttlab import theory
from tests.support.analysed import analysis_of, draw, swept, tables_of

pytestmark = pytest.mark.slow  # a sweep of many networks; `make verify` runs it

SEEDS = range(6)
FED = [{"name": "non_normal", "feed_forward": strength} for strength in (0.5, 1.0, 2.0)]
REST = {"batch_size": 1, "sequence_length": 400, "spectral_radius": 0.9, "scales": {"V": 0.0},
        "cell": {"name": "elman", "hidden_size": 64, "activation": "identity"},
        "measure": {"lags": 16, "lag_terms": "none", "transient_lags": 400}}  # fmt: skip
DRIVEN = {"batch_size": 1, "sequence_length": 160, "cell": {"name": "elman", "hidden_size": 64},
          "task": {"name": "noise", "input_size": 64},
          "measure": {"sequences": 1, "lags": 4, "lag_terms": "none", "transient_lags": 0}}  # fmt: skip
POWERS = {"batch_size": 1, "sequence_length": 4, "initializer": "gaussian", "scales": {"V": 0.0},
          "cell": {"name": "elman", "hidden_size": 120, "activation": "identity"},
          "measure": {"sequences": 1, "lag_terms": "none", "transient_lags": 4, "singular_lags": 5}}  # fmt: skip
VALUES = {**DRIVEN, "sequence_length": 12, "initializer": FED[2], "spectral_radius": 1.0, "scales": {"V": 1.0},
          "measure": {**DRIVEN["measure"], "singular_lags": 4}}  # fmt: skip
LARGE = {**POWERS, "cell": {**POWERS["cell"], "hidden_size": 400},
         "measure": {**POWERS["measure"], "singular_lags": 0}}  # fmt: skip


def reduced():
    """The sweep of the experiment with fewer networks, radii and steps."""
    points = [{**REST, "initializer": one} for one in ("orthogonal", "gaussian_radius", "bidiagonal", *FED)]
    radii = [(1.3, 1.5, 1.8, 2.0), (1.2, 1.8, 2.6), (1.1, 1.5, 1.9), (0.9, 1.2, 1.6), (0.6, 0.8, 1.0, 1.2)]
    for one, some in zip(("orthogonal", "gaussian_radius", *FED), radii, strict=True):
        for rho in some:
            points += [{**DRIVEN, "initializer": one, "spectral_radius": rho, "scales": {"V": V}} for V in (0.3, 1.0)]
    return [{**point, "seed": seed} for point in [*points, LARGE, POWERS] for seed in SEEDS] + [{**VALUES, "seed": 0}]


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    return swept(reduced(), "radius", tmp_path_factory)


@pytest.fixture(scope="module")
def analysis():
    return analysis_of("spectral_radius_is_not_gain")


LOOSE = r"^critical spectral radius of orthogonal W|^mean s\^4"
"""Claims that six networks, or smaller ones, may leave undecided."""


def test_every_claim_holds_on_a_reduced_sweep(study, analysis):
    claims = analysis["claims"](study)
    wide = claims["claim"].str.contains(LOOSE)
    assert claims.loc[~wide, "held"].all(), claims[~claims["held"]].to_string()
    assert set(claims.loc[wide, "verdict"]) <= {"holds", "undecided"}
    assert len(claims) == 40


@pytest.mark.parametrize(
    ("table", "column", "change", "where", "words"),
    [
        ("runs", "henrici_departure", lambda x: x + 1e-6, {"initializer": "orthogonal"}, "departure of orthogonal"),
        ("runs", "henrici_departure", lambda x: x + 1e-5, {"initializer": "non_normal"}, "of feed-forward W"),
        ("runs", "henrici_departure", lambda x: x + 0.02, {"initializer": "gaussian"}, "of large Gaussian W"),
        ("runs", "transient_peak", lambda x: x + 1e-6, {"initializer": "orthogonal"}, "peak of powers of orthogonal"),
        ("runs", "transient_peak", lambda x: x * 0.3, {"initializer_feed_forward": 2.0}, "2 over feed-forward 1"),
        ("runs", "transient_peak", lambda x: x * 0.3, {"initializer_feed_forward": 1.0}, "1 over feed-forward 0.5"),
        ("runs", "vanishing_horizon", lambda x: x + 1, {"initializer": "orthogonal"}, "1/e or more, orthogonal"),
        ("runs", "vanishing_horizon", lambda x: x // 4, {"initializer_feed_forward": 2.0}, "or more, feed-forward 2"),
        ("runs", "asymptote_residual", lambda x: x + 0.02, {"initializer_feed_forward": 0.5}, "growth rate - log rho"),
        ("runs", "growth_rate", lambda x: x - 0.2, {"initializer": "bidiagonal"}, "rate of the chain"),
        ("runs", "growth_rate", lambda x: x - 0.1, {"initializer": "orthogonal"}, "radius of orthogonal W, noise"),
        ("runs", "growth_rate", lambda x: x - 0.3, {"initializer_feed_forward": 2.0}, "radius of feed-forward 2"),
        ("runs", "growth_rate", lambda x: x - 0.3, {"initializer_feed_forward": 2.0}, "over feed-forward 2"),
        ("runs", "growth_rate", lambda x: x - 0.2, {"initializer": "gaussian_radius"}, "mean field)|, Gaussian"),
        ("runs", "gain", lambda x: x * 0.4, {"initializer_feed_forward": 2.0}, "error of rho"),
        ("runs", "sigma_max", lambda x: x * 0.5, {"initializer_feed_forward": 2.0}, "error of sigma_max"),
        ("runs", "growth_rate", lambda x: x - 0.2, {"scales_V": 1.0}, "variance 0.09 minus that at 1"),
        ("jacobians", "log_spectral_norm", lambda x: x * 1.1, {"lag": 3, "initializer": "gaussian"}, "sigma_max(W^3)"),
        ("singular_values", "log_singular_value", lambda x: x * 1.1, {"lag": 2}, "(mean s^2)^2 of W^2"),
    ],
)
def test_claims_fail_on_doctored_tables(study, analysis, table, column, change, where, words):
    rows = study.table(table).copy()
    chosen = np.logical_and.reduce([rows[name] == value for name, value in where.items()])
    assert chosen.any()
    rows.loc[chosen, column] = change(rows.loc[chosen, column])
    claims = analysis["claims"](tables_of(study, ("runs", "jacobians", "singular_values"), **{table: rows}))
    before = analysis["claims"](study)
    changed = (claims["verdict"] == "fails") | (before["held"] & ~claims["held"])
    assert any(words in text for text in claims.loc[changed, "claim"]), claims["claim"].tolist()


def test_networks_without_one_sign_change_have_no_radius(study, analysis):
    runs = study.runs.assign(growth_rate=study.runs["growth_rate"].abs())
    claims = analysis["claims"](
        SimpleNamespace(runs=runs, jacobians=study.jacobians, singular_values=study.singular_values)
    )
    turns = claims[claims["claim"].str.contains("noise of variance")]
    assert set(turns["verdict"]) == {"undecided"}
    assert turns["reason"].str.startswith("the growth rate does not change its sign exactly once: ").all()


def test_the_table_of_critical_points_says_what_the_claims_do(study, analysis):
    table = analysis["summaries"](study)["critical_points"].set_index(["drive", "kind"])
    assert (table["networks"] == len(SEEDS)).all() and len(table) == 10
    assert table.loc[(1.0, "Gaussian"), "mean_field"] == theory.critical_gain(1.0)[0]
    orthogonal = table.xs("orthogonal", level="kind")
    np.testing.assert_allclose(orthogonal["rho"], orthogonal["gain"], rtol=1e-9)
    np.testing.assert_allclose(orthogonal["rho"], orthogonal["sigma_max"], rtol=1e-9)


@pytest.mark.parametrize("size", ["page", pytest.param("column", marks=pytest.mark.slow)])
def test_the_figure_shows_every_kind(study, analysis, size):
    figure = draw(analysis, study, size)
    assert len(figure.axes) == 3 and len(figure.axes[0].lines) == 7
    assert all(len(axes.lines) == 1 + 3 * 5 for axes in figure.axes[1:])
