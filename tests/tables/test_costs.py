"""What schemes cost: tables against slower ways to them, figures that show what tables say, claims that can fail."""

import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from bpttlab import figures, plugins, tables
from bpttlab.errors import LabError
from bpttlab.figures import schemes, style
from bpttlab.figures.bias_bounds import plot_bias_bounds
from bpttlab.figures.bias_variance import plot_bias_variance
from bpttlab.figures.directions import plot_directions
from bpttlab.figures.error_cost import plot_error_cost
from tests.support import synthetic
from tests.support.analysed import analysis_of, swept, tables_of

ROOT = Path(__file__).resolve().parents[2]
CELLS = ("elman", "gru", "lstm")
QUIET = {"jacobians": "none", "scheme_seconds": True}
NETWORK = {"batch_size": 4, "sequence_length": 48, "spectral_radius": 1.3, "task": {"name": "noise", "input_size": 2},
           "measure": {**QUIET, "log_scale": True}}  # fmt: skip
SMALL = {"batch_size": 4, "sequence_length": 12, "spectral_radius": 1.0, "task": {"name": "noise", "input_size": 2},
         "measure": {"jacobians": "none"}}  # fmt: skip
LINEAR = {"batch_size": 1, "sequence_length": 120, "task": "adding", "readout": "units", "scales": {"V": 0.0}}
CHAIN = {**LINEAR, "cell": {"name": "elman", "hidden_size": 23, "activation": "identity"}, "initializer": "bidiagonal",
         "spectral_radius": 0.5, "measure": {**QUIET, "lag_terms": "none", "signed_bias": 10}}  # fmt: skip
UNIT = {**LINEAR, "cell": {"name": "elman", "hidden_size": 1, "activation": "identity"}, "initializer": "identity",
        "measure": {**QUIET, "lag_terms": "none"}}  # fmt: skip


MANY_DRAWS = {"random": 300, "uoro": 1600, "one unit": 2000}
FEW_DRAWS = {"random": 20, "uoro": 16, "one unit": 20}


def reduced(draws):
    """The sweep of the experiment with fewer and smaller networks, and so many draws where a claim is about draws."""
    cut = [{"scheme": name, "truncation": K} for name in ("per_loss", "windowed", "chunked", "chunked_mean", "random")
           for K in (5, 20)]  # fmt: skip
    whole = [{"scheme": {"name": "uoro", "draws": 16}}, {"scheme": "snap"}, {"scheme": "rtrl"},
             {"scheme": {"name": "adaptive", "delta": 0.3}, "truncation": 40},
             {"scheme": "per_loss", "truncation": 2}]  # fmt: skip
    points = [{**NETWORK, "cell": {"name": cell, "hidden_size": 6}, **one} for cell in CELLS for one in cut + whole]
    leaky = [{"scheme": "per_loss", "truncation": 1}, {"scheme": "rflo"}, {"scheme": "snap"}, {"scheme": "rtrl"}]
    points += [{**NETWORK, "cell": {"name": "leaky", "hidden_size": 6, "alpha": alpha}, **one}
               for alpha in (0.1, 1.0) for one in leaky]  # fmt: skip
    points = [{**point, "seed": seed} for point in points for seed in (0, 1)]
    points += [{**CHAIN, "scheme": name, "truncation": K} for name in ("per_loss", "chunked_mean")
               for K in (1, 10, 20, 40, 50, 120, 240)]  # fmt: skip
    drawn = ({"name": name, "draws": draws[name]} for name in ("random", "uoro"))
    points += [
        {**CHAIN, "scheme": "rtrl"},
        {**CHAIN, "scheme": "snap"},
        *({**CHAIN, "scheme": scheme, "truncation": 40} for scheme in drawn),
    ]
    points += [{**UNIT, "spectral_radius": c, "scheme": {"name": "random", "draws": draws["one unit"]}, "truncation": 4}
               for c in (0.5, 0.95)]  # fmt: skip
    return points


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    return swept(reduced(FEW_DRAWS), "costs", tmp_path_factory)


@pytest.fixture(scope="module")
def drawn_often(tmp_path_factory):
    """The same with as many draws as the claims need."""
    return swept(reduced(MANY_DRAWS), "often", tmp_path_factory)


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    """Estimators that draw, with many draws."""
    points = [{**SMALL, "cell": {"name": cell, "hidden_size": 3}, "scheme": {"name": name, "draws": 120},
               "truncation": 4, "seed": seed}
              for cell in CELLS for name in ("random", "uoro") for seed in range(6)]  # fmt: skip
    return swept(points, "small", tmp_path_factory)


@pytest.fixture(scope="module")
def analysis():
    return analysis_of("what_truncation_costs")


def frames(study, **changed):
    """The tables of a study, some of them doctored."""
    names = ("runs", "truncations", "bias_bounds", "provenance", "lag_terms")
    return tables_of(study, names, **changed)


# ------------------------------------------------------------------ claims


@pytest.mark.slow
def test_no_claim_fails_on_a_reduced_sweep(drawn_often, analysis):
    claims = analysis["claims"](drawn_often)
    assert not (claims["verdict"] == "fails").any(), claims[claims["verdict"] == "fails"].to_string()
    few = claims["reason"].str.contains("there are [02]$", regex=True)
    assert (claims.loc[few, "verdict"] == "undecided").all() and few.sum() >= 20
    facts = claims["low"] == claims["high"]
    assert claims.loc[facts, "held"].all() and facts.sum() == 18
    assert (claims["kind"] == "identity").sum() == 5


def doctored(study, scheme, column, change, **where):
    rows = study.truncations.copy()
    chosen = (rows["origin"] == "scheme") & (rows["scheme"] == scheme)
    for name, value in where.items():
        chosen &= rows[name].isin(value) if isinstance(value, tuple) else rows[name] == value
    assert chosen.any()
    rows.loc[chosen, column] = change(rows.loc[chosen, column])
    return frames(study, truncations=rows)


DOCTORED = [
    ("rtrl", "cosine", lambda x: -x, {"initializer": "bidiagonal"}, "of RTRL"),
    ("per_loss", "cosine", abs, {"initializer": "bidiagonal", "truncation": 40}, "wrong sign"),
    ("uoro", "cosine", lambda x: -x, {"initializer": "bidiagonal"}, "relative derivative of UORO"),
    ("random", "log_variance", lambda x: x + 0.3, {"initializer": "identity"}, "relative variance"),
    ("rtrl", "log_norm", lambda x: x + 1e-6, {"cell": "elman", "parameter": "W"}, "|g| and cosine of RTRL"),
    ("rtrl", "log_relative_bias", lambda x: x + 20, {"cell": "lstm"}, "bias of RTRL, everywhere"),
    ("per_loss", "log_norm", lambda x: x + 1e-6, {"initializer": "bidiagonal", "truncation": 20}, "closed form"),
    ("per_loss", "log_norm", lambda x: x + 1e-3, {"initializer": "bidiagonal", "truncation": 1}, "that of K = 1"),
    ("chunked_mean", "log_norm", lambda x: x + 1e-6, {"initializer": "bidiagonal"}, "mean chunks"),
    ("per_loss", "log_relative_bias", lambda x: x + 1e-3, {"initializer": "bidiagonal"}, "bias of TBPTT over its"),
    ("snap", "log_norm", lambda x: x - np.log(2), {"initializer": "bidiagonal"}, "derivative of SnAp-1"),
    ("random", "log_norm", lambda x: x - 2.0, {"initializer": "bidiagonal"}, "relative derivative of ARTBP"),
    ("random", "log_variance", lambda x: x + 20, {"initializer": "identity"}, "draws miss it"),
    ("rflo", "log_norm", lambda x: x + 1e-6, {"cell_alpha": 1.0}, "RFLO at alpha = 1"),
]


@pytest.mark.slow
@pytest.mark.parametrize(("scheme", "column", "change", "where", "words"), DOCTORED)
def test_claims_fail_on_doctored_tables(drawn_often, analysis, scheme, column, change, where, words):
    claims = analysis["claims"](doctored(drawn_often, scheme, column, change, **where))
    assert any(words in text for text in claims.loc[~claims["held"], "claim"]), claims["claim"].tolist()


def of_networks(study, networks=9):
    """The runs of seed 0 as those of so many networks, each a little different from the one before."""
    rows = study.truncations[study.truncations["seed"] == 0]
    copies = [
        rows.assign(
            seed=seed,
            network_id=rows["network_id"] + f"-{seed}",
            log_relative_bias=rows["log_relative_bias"] + 1e-3 * seed,
        )
        for seed in range(networks)
    ]  # fmt: skip
    found = pd.concat(copies, ignore_index=True)
    return found[(found["origin"] == "scheme") & (found["initializer"] == "gaussian_radius")]


@pytest.mark.parametrize(
    ("schemes", "change", "claims", "words"),
    [
        (["adaptive"], 9.0, "adaptive_keeps_its_promise", "adaptive truncation"),
        (["rflo", "snap"], 5.0, "of_the_leak", "TBPTT at K = 1, alpha"),
        (["windowed"], 9.0, "windows", "windows over that of"),
    ],
)
def test_claims_on_medians_of_networks_hold_and_fail(study, analysis, schemes, change, claims, words):
    rows = of_networks(study)
    rows = rows[(rows["cell"] == "leaky") == (claims == "of_the_leak")]
    chosen = rows["scheme"].isin(schemes)
    less, more = (rows["log_relative_bias"] + np.where(chosen, by, 0.0) for by in (-change, change))
    held = analysis[claims](rows.assign(log_relative_bias=less))
    assert {row["verdict"] for row in held if words in row["claim"] and not row["reason"]} == {"holds"}
    failed = analysis[claims](rows.assign(log_relative_bias=more))
    assert {row["verdict"] for row in failed if words in row["claim"] and not row["reason"]} == {"fails"}


@pytest.mark.slow
def test_an_estimator_with_a_bias_of_40_percent_is_seen(small, analysis):
    """Along g, and across it: 40 % in every network."""
    rows = small.truncations.copy()
    drawn = rows["draws"].fillna(0) >= 100
    shorter = rows.assign(log_norm=rows["log_norm"] + np.where(drawn, np.log(0.6), 0.0))
    square = np.exp(2.0 * rows["log_relative_bias"]) + np.where(drawn, 0.16, 0.0)
    across = rows.assign(log_relative_bias=0.5 * np.log(square.clip(lower=1e-300)))
    for wrong, words in ((shorter, "along g"), (across, "squared relative bias")):
        failed = [row["claim"] for row in analysis["unbiased"](wrong) if not row["held"]]
        assert sum(words in text for text in failed) >= 5, failed


def test_gradients_in_plain_numbers_are_those_of_the_engine(study, analysis):
    """A bias that is relative to g_K, and SnAp-1 without its diagonal, are not the numbers computed again."""
    rows = study.truncations.copy()
    full = rows["network_id"].map(rows[rows["parameter"] == "W"].groupby("network_id")["log_norm"].max())
    wrong = rows.assign(log_relative_bias=rows["log_relative_bias"] + full - rows["log_norm"])
    assert not analysis["computed_again"](frames(study, truncations=wrong))[0]["held"]
    one = rows[(rows["scheme"] == "per_loss") & (rows["truncation"] == 1) & (rows["origin"] == "scheme")]
    one = one[(one["cell"] == "leaky") & (one["parameter"] == "W")].set_index("network_id")
    snap = (rows["scheme"] == "snap") & (rows["cell"] == "leaky") & (rows["parameter"] == "W")
    for name in ("log_norm", "cosine", "log_relative_bias"):
        rows.loc[snap, name] = rows.loc[snap, "network_id"].map(one[name])
    assert not analysis["computed_again"](frames(study, truncations=rows))[1]["held"]
    higher = study.bias_bounds.assign(log_bias_estimate=study.bias_bounds["log_bias_estimate"] + 1e-3)
    assert not analysis["decay_again"](frames(study, bias_bounds=higher))["held"]


@pytest.mark.slow
def test_bound_below_the_bias_fails(drawn_often, analysis):
    bounds = drawn_often.bias_bounds
    lower = bounds.assign(log_bias_bound=bounds["log_bias_bound"] - 9)
    silent = bounds.assign(log_bias_bound=np.nan, log_bias_estimate=np.nan)
    for changed in (lower, silent):
        claims = analysis["claims"](frames(drawn_often, bias_bounds=changed))
        assert sum("bias / bound" in text for text in claims.loc[~claims["held"], "claim"]) == len(CELLS)


# ------------------------------------------------------------------ tables


def test_costs_are_medians_over_networks(study):
    costs = tables.costs(study.truncations, study.runs, study.provenance)
    row = costs[(costs["cell"] == "gru") & (costs["scheme"] == "random") & (costs["truncation"] == 5)]
    row = row.set_index("parameter").loc["W"]
    own = study.truncations.query("origin == 'scheme' and scheme == 'random' and truncation == 5 and parameter == 'W'")
    own = own[own["cell"] == "gru"]
    assert row["networks"] == 2 and row["draws"] == 32
    for name in ("log_relative_bias", "log_variance", "log_minibatch_variance", "steps_computed"):
        assert row[name] == pytest.approx(own[name].median(), rel=1e-12)
    variance = np.exp(own["log_variance"].astype(float))
    assert row["log_bias_noise"] == pytest.approx(np.log(np.sqrt(variance / 32)).median(), rel=1e-12)
    squares = (np.exp(2 * own["log_relative_bias"]) - variance / 32).clip(lower=0) + variance
    assert row["log_relative_error"] == pytest.approx((0.5 * np.log(squares)).median(), rel=1e-12)
    seconds = study.provenance.set_index("run_id").loc[own["run_id"], "scheme_seconds"]
    assert row["scheme_seconds"] == pytest.approx(seconds.median(), rel=1e-12)


def test_one_plan_has_no_variance_and_adaptive_one_row(study):
    costs = tables.costs(study.truncations, study.runs)
    assert costs["scheme_seconds"].isna().all()
    assert costs.loc[costs["scheme"].isin(["per_loss", "rtrl", "snap"]), "log_variance"].isna().all()
    same = costs[costs["log_variance"].isna()]
    pd.testing.assert_series_equal(same["log_relative_error"], same["log_relative_bias"], check_names=False)
    adaptive = costs[(costs["scheme"] == "adaptive") & (costs["parameter"] == "W")]
    assert set(adaptive["truncation"]) == {40} and (adaptive["networks"] == 2).all()
    assert (adaptive["reach"] <= 40).all()


def test_costs_are_the_same_from_joined_columns(study):
    pd.testing.assert_frame_equal(tables.costs(study.truncations), tables.costs(study.truncations, study.runs))


def test_equal_cost_is_the_best_within_each_budget(study):
    costs = tables.costs(study.truncations, study.runs, study.provenance)
    equal = tables.equal_cost(study.truncations, study.runs, study.provenance)
    part = costs[(costs["cell"] == "lstm") & (costs["parameter"] == "W")]
    rows = equal[(equal["cell"] == "lstm") & (equal["parameter"] == "W")]
    for row in rows[rows["averaged"] == 1].sample(20, random_state=0).to_dict("records"):
        within = part[(part["scheme"] == row["scheme"]) & (part[row["cost"]] <= row["budget"])]
        assert row["log_relative_error"] == pytest.approx(within["log_relative_error"].min(), rel=1e-12)
    assert rows[rows["cost"] == "steps_computed"]["budget"].max() >= part["steps_computed"].max()
    assert set(equal["standing"]) == {"not told apart", "only one"}  # of two networks nothing can be told
    assert tables.equal_cost(study.truncations[:0], study.runs).empty
    one_plan = rows["scheme"].isin(["per_loss", "windowed", "chunked", "adaptive", "snap", "rtrl"])
    assert (rows.loc[one_plan, "averaged"] == 1).all() and (rows.loc[~one_plan, "averaged"] > 1).any()


def test_directional_derivative_is_relative_to_the_full(study):
    found = tables.along_directions(study.truncations, study.runs)
    chain = found[found["parameter"] == "signed b_h"].set_index(["scheme", "truncation"])
    assert chain.loc[("per_loss", 120), "relative_derivative"] == 1.0
    assert chain.loc[("per_loss", 1), "relative_derivative"] == pytest.approx(-1 / 6, rel=1e-6)
    assert chain.loc[("per_loss", 40), "wrong"] == 1 and chain.loc[("per_loss", 50), "wrong"] == 0
    uoro = chain.xs("uoro", level="scheme").iloc[0]
    half = 1.959964 * uoro["one_draw"] / np.sqrt(FEW_DRAWS["uoro"])
    assert uoro["relative_derivative_high"] - uoro["relative_derivative"] == pytest.approx(half, rel=1e-9)
    assert chain.xs("rtrl", level="scheme")["relative_derivative_low"].isna().all()


def test_networks_far_from_the_full_gradient_have_no_scale(study):
    short = study.truncations[(study.truncations["scheme"] == "chunked") & (study.truncations["truncation"] == 5)]
    assert tables.along_directions(short, study.runs).empty


def test_bounds_stand_beside_the_exact_bias_of_the_same_run(study):
    found = tables.bias_bounds(study.bias_bounds, study.truncations, study.runs)
    rows = found[(found["cell"] == "gru") & (found["parameter"] == "W") & (found["bounded"] == 2)]
    row = rows[rows["truncation"] < 60].iloc[0]
    exact = study.truncations.query("origin == 'wavefront' and parameter == 'W' and cell == 'gru'")
    exact = exact[exact["truncation"] == row["truncation"]]
    own = exact[exact["run_scheme"] == "adaptive"].drop_duplicates("network_id")
    assert row["log_relative_bias"] == pytest.approx(own["log_relative_bias"].median(), rel=1e-12)
    assert found["above"].sum() == 0 and found["bounded"].sum() > 100
    last = found[found["truncation"] == 60]
    assert (last[["log_relative_bias", "log_bias_bound"]] == -np.inf).all(axis=None)


@pytest.mark.slow
def test_summaries_have_them_where_they_were_measured(study):
    found = tables.summaries(study)
    assert {"costs", "equal_cost", "along_directions", "bias_bounds"} <= set(found)
    for name in ("costs", "equal_cost", "along_directions", "bias_bounds"):
        own = [column for column in found[name] if not column.endswith(("_low", "_high"))]
        assert set(own[own.index("networks") :]) <= set(tables.COLUMNS)
        assert tables.format_table(tables.choose_rows(name, found[name]))
    assert "costs" not in tables.summaries(synthetic.study(seeds=2, lengths=(10,)))


# ------------------------------------------------------------------ figures


sizes = pytest.mark.parametrize("size", [pytest.param("page", marks=pytest.mark.slow), "column"])


@pytest.mark.slow
@pytest.mark.parametrize("size", ["page", "column"])
def test_all_four_are_drawn_at_both_sizes(study, size):
    drawn = figures.draw(study, size, names=list(figures.OF_COSTS))
    assert set(figures.OF_COSTS) <= set(drawn)
    for name in figures.OF_COSTS:
        assert drawn[name].get_size_inches()[0] == pytest.approx(style.WIDTHS[size])


def test_without_variance_or_seconds_the_reason_is_told():
    skipped = figures.draw(synthetic.study(seeds=2, lengths=(10,)), names=figures.OF_COSTS).skipped
    assert "no variance or seconds" in skipped["bias_variance"] and "no variance or seconds" in skipped["error_cost"]
    assert "scheme=adaptive" in skipped["bias_bounds"]
    assert "measure.log_scale=true" in skipped["directions"]


def plane(study, **changed):
    costs = tables.costs(study.truncations, study.runs, study.provenance)
    return costs[(costs["cell"] == "elman") & (costs["initializer"] == "gaussian_radius")].assign(**changed)


def marks(axes):
    return [(line.get_marker(), *line.get_xydata()[0]) for line in axes.lines if line.get_marker() != "None"]


@pytest.mark.usefixtures("without_layout")
def test_the_plane_shows_every_gradient_once(study):
    costs = plane(study)
    figure = plot_bias_variance(costs)
    of_W = costs[costs["parameter"] == "W"]
    shown = marks(figure.axes[0])
    assert len(shown) == len(of_W)
    random = of_W[of_W["scheme"] == "random"]
    expected = {(x, 0.5 * v) for x, v in zip(random["log_relative_bias"], random["log_variance"], strict=True)}
    assert {(x, y) for marker, x, y in shown if marker == "D"} == expected
    lanes = {marker: y for marker, _, y in shown if marker in "os^*P"}
    assert max(lanes.values()) < min(y for marker, _, y in shown if marker in "DX")
    assert len({round(y, 9) for y in lanes.values()}) == len(lanes)


@pytest.mark.parametrize(
    "changed",
    [
        {"log_variance": np.nan, "log_minibatch_variance": np.nan},
        {"log_variance": -np.inf},
        {"log_relative_bias": -np.inf, "log_relative_error": -5.0},
        *(
            pytest.param(changed, marks=pytest.mark.slow)
            for changed in (
                {"log_relative_bias": 300.0, "log_variance": 600.0, "log_relative_error": 301.0},
                {"steps_computed": 1.0, "scheme_seconds": np.nan},
            )
        ),
    ],
)
@sizes
@pytest.mark.usefixtures("without_layout")
def test_extreme_costs_are_drawn_or_refused_in_words(study, changed, size):
    costs = plane(study, **changed)
    gone = np.isneginf(costs["log_relative_bias"]).all()
    with style.style_context(size):
        for plot in (plot_bias_variance, plot_error_cost):
            if gone:
                with pytest.raises(LabError, match="no bias and variance of the gradient of W"):
                    plot(costs, size)
            else:
                plot(costs, size).draw_without_rendering()


def test_a_scheme_keeps_its_look_and_no_two_are_alike():
    known = list(plugins.find_shipped("scheme"))
    looks = schemes.looks(known)
    assert set(looks) == set(known) and len(set(looks.values())) == len(known)
    assert schemes.looks(["uoro", "random"])["random"] == looks["random"]
    assert len(schemes.looks(["mine", "yours"])) == 2


@pytest.mark.usefixtures("without_layout")
def test_wrong_sign_is_shaded_and_bounds_are_drawn(study):
    directions = tables.along_directions(study.truncations, study.runs)
    figure = plot_directions(directions[directions["parameter"] == "signed b_h"])
    (shade,) = figure.axes[0].patches
    assert shade.get_y() < 0 and shade.get_y() + shade.get_height() == 0
    line = next(line for line in figure.axes[0].lines if line.get_marker() == "o")
    assert min(line.get_ydata()) < -2
    bounds = tables.bias_bounds(study.bias_bounds, study.truncations, study.runs)
    figure = plot_bias_bounds(bounds[bounds["cell"] == "lstm"])
    assert len(figure.axes) == 1
    with pytest.raises(LabError, match="no bounds on the bias of nothing"):
        plot_bias_bounds(bounds, parameter="nothing")


def test_labels_tell_points_apart(study):
    costs = tables.costs(study.truncations, study.runs, study.provenance)
    parts = schemes.points(costs[costs["parameter"] == "b_h"], ["scheme", "truncation", "parameter"])
    labels = [part.label for part in parts]
    assert len(set(labels)) == len(labels) == 6
    assert {"gru", "lstm", "leaky, alpha 0.1", "leaky, alpha 1"} < set(labels)


# ------------------------------------------------------------------ the page


def test_the_page_names_exactly_the_schemes_there_are():
    page = (ROOT / "docs" / "truncation.md").read_text(encoding="utf-8")
    table = page[: page.index("## Comparing")]
    named = re.findall(r"^\| `(\w+)` \|", table, flags=re.MULTILINE)
    assert sorted(named) == sorted(2 * list(plugins.find_shipped("scheme")))  # one row in each of the two tables
    assert {path.stem for path in (ROOT / "conf" / "scheme").glob("*.yaml")} == set(plugins.find_shipped("scheme"))


@pytest.mark.parametrize("page", ["docs/truncation.md", "experiments/what_truncation_costs/README.md"])
def test_links_lead_somewhere(page):
    path = ROOT / page
    for link in re.findall(r"\]\(([^)#]+)\)", path.read_text(encoding="utf-8")):
        assert (path.parent / link).exists(), link
