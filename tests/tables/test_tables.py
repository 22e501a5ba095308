"""Summaries: known growth rates come back, repeated networks are no evidence, exact zeros are counted, not fitted."""

import csv
import io
import math
import re

import numpy as np
import pandas as pd
import pytest

from bpttlab import tables
from bpttlab.errors import LabError, StoreError
from tests.support import synthetic
from tests.support.frames import one

CLOSE = {"rtol": 1e-12}
POINT = ["task", "initializer", "initializer_target", "initializer_requested", "sequence_length"]


@pytest.fixture(scope="module")
def study():
    return synthetic.study()


# ------------------------------------------------------------------ sweep points


def test_varying_names_configuration_columns_only(study):
    assert tables.find_varying(study.runs) == [
        "seed", "spectral_radius", "sequence_length", "truncation", "scheme", "initializer_spectral_radius"
    ]  # fmt: skip


def test_varying_counts_a_missing_value():
    runs = pd.DataFrame({"task_delay": [1.0, np.nan], "cell": ["elman", "elman"], "growth_rate": [0.0, 1.0]})
    assert tables.find_varying(runs) == ["task_delay"]


def test_varied_fields_make_points_and_task_fields_do_not():
    study = synthetic.study(tasks=("noise", "adding"), seeds=2)
    assert study.runs["task_input_size"].nunique() == 2
    assert list(tables.growth(study.runs).columns[:6]) == [*POINT, "networks"]
    wide = study.runs.assign(cell_hidden_size=64, network_id="w" + study.runs["network_id"])
    wide["run_id"] = "w" + wide["run_id"]
    both = pd.concat([study.runs, wide], ignore_index=True)
    assert list(tables.growth(both).columns[:7]) == [*POINT, "cell_hidden_size", "networks"]
    assert len(tables.growth(both)) == 2 * len(tables.growth(study.runs))


def test_fields_that_follow_from_the_cell_within_make_no_points():
    runs = synthetic.study().runs
    first = runs["seed"] % 2 == 0
    runs = runs.assign(cell_of=first.map({True: "gru", False: "elman"}), cell_of_reset=first.map({True: "after"}))
    runs["cell_of_activation"] = ["tanh", "relu"] * (len(runs) // 2) + ["tanh"] * (len(runs) % 2)
    columns = tables.point_columns(runs)
    assert "cell_of" in columns and "cell_of_reset" not in columns
    assert ("cell_of_activation" in columns) == (runs.groupby("cell_of")["cell_of_activation"].nunique() > 1).any()


def test_what_is_measured_makes_no_point_of_its_own(study):
    again = study.runs[study.runs["seed"] == 0].assign(measure_jacobians="triangle")
    again["run_id"] = "a" + again["run_id"]
    both = pd.concat([study.runs.assign(measure_jacobians="log"), again], ignore_index=True)
    pd.testing.assert_frame_equal(tables.growth(both), tables.growth(study.runs))


# ------------------------------------------------------------------ growth


def test_growth_recovers_the_rates_and_their_interval():
    table = tables.growth(synthetic.study(seeds=9, lengths=(50,), truncations=("full",)).runs)
    assert len(table) == 5
    offsets = synthetic.SPREAD * np.array([0, -3, 3])  # of nine networks the second and the eighth hold the median
    for radius in (0.5, 0.9, 1.0, 1.1, 1.5):
        row = one(table, initializer_requested=radius)
        found = [row[f"growth_rate{end}"] for end in ("", "_low", "_high")]
        np.testing.assert_allclose(found, synthetic.slope(radius) + offsets, rtol=1e-9)
        growth = [row[f"log_growth{end}"] for end in ("", "_low", "_high")]
        np.testing.assert_allclose(growth, 50 * (synthetic.slope(radius) + offsets) - 0.4, rtol=1e-6)


def test_a_network_counts_once_however_often_it_was_truncated(study):
    full_only = study.runs[study.runs["truncation"] == "full"]
    assert len(full_only) * 3 == len(study.runs)
    pd.testing.assert_frame_equal(tables.growth(full_only), tables.growth(study.runs))
    assert set(tables.growth(study.runs)["networks"]) == {4}


def test_horizons_are_medians_that_know_what_never_happened(study):
    runs = study.runs[(study.runs["initializer_requested"] == 1.1) & (study.runs["sequence_length"] == 50)].copy()
    runs["growing_horizon"] = runs["seed"].map({0: 5, 1: 9, 2: pd.NA, 3: pd.NA}).astype("Int64")
    row = tables.growth(runs).iloc[0]
    assert row["growing_none"] == 2
    assert math.isnan(row["growing_horizon"])  # the median network never grows past e
    runs["growing_horizon"] = runs["seed"].map({0: 5, 1: 9, 2: 11, 3: pd.NA}).astype("Int64")
    assert tables.growth(runs).iloc[0]["growing_horizon"] == 10
    runs["vanishing_horizon"] = runs["seed"].map({0: 20, 1: 30, 2: 50, 3: 50}).astype("Int64")
    runs["horizon_censored"] = (runs["seed"] >= 2).astype("boolean")
    row = tables.growth(runs).iloc[0]
    assert row["vanishing_horizon"] == 40
    assert row["vanishing_censored"] == 2


def test_diverged_and_failed_networks_are_counted_and_left_out(study):
    point = (study.runs["initializer_requested"] == 1.5) & (study.runs["sequence_length"] == 50)
    changed = synthetic.diverged(study, point & (study.runs["seed"] == 0))
    changed = synthetic.diverged(changed, point & (study.runs["seed"] == 1), "failed")
    row = one(tables.growth(changed.runs), initializer_requested=1.5, sequence_length=50)
    assert [row["networks"], row["fitted"], row["diverged"], row["failed"]] == [2, 2, 1, 1]
    np.testing.assert_allclose(row["growth_rate"], synthetic.slope(1.5) + synthetic.SPREAD, rtol=1e-9)
    assert len(tables.growth(changed.runs)) == 15


def test_a_network_with_one_failed_run_is_measured_by_the_others(study):
    chosen = (study.runs["truncation"] == "5") & (study.runs["initializer_requested"] == 1.5)
    changed = synthetic.diverged(study, chosen, "failed")
    pd.testing.assert_frame_equal(tables.growth(changed.runs), tables.growth(study.runs))


def test_exact_zeros_are_counted_not_fitted():
    study = synthetic.study(zero_from=12)
    row = one(tables.growth(study.runs), initializer_requested=0.5, sequence_length=50)
    assert [row["networks"], row["fitted"], row["vanished"]] == [4, 0, 4]
    assert row["log_growth"] == -np.inf
    assert one(tables.growth(study.runs), initializer_requested=0.5, sequence_length=10)["vanished"] == 0


def test_undrawn_request_is_read_from_configuration(study):
    changed = synthetic.diverged(study, study.runs["initializer_requested"] == 1.5, "failed").runs
    assert changed["initializer_requested"].isna().any()
    table = tables.growth(changed)
    assert list(table[table["initializer_requested"] == 1.5]["failed"]) == [4, 4, 4]


def test_a_frame_without_the_column_is_refused_by_name(study):
    with pytest.raises(LabError, match="'log_growth'"):
        tables.growth(study.runs.drop(columns="log_growth"))


# ------------------------------------------------------------------ truncation


def test_bias_is_the_median_and_exact_if_all_is_kept(study):
    table = tables.truncation_bias(study.truncations, study.runs)
    kept = {"initializer_requested": 0.9, "sequence_length": 50, "parameter": "W", "origin": "wavefront"}
    row = one(table, truncation=5, **kept)
    raw = study.truncations
    raw = raw[
        (raw["spectral_radius"] == 0.9)
        & (raw["length"] == 50)
        & (raw["parameter"] == "W")
        & (raw["origin"] == "wavefront")
    ]
    biases = raw[raw["truncation"] == 5].drop_duplicates("network_id")["log_relative_bias"]
    assert len(biases) == 4
    np.testing.assert_allclose(row["log_relative_bias"], biases.median(), rtol=1e-9)
    assert math.isnan(row["log_relative_bias_low"])  # four networks
    assert [row["networks"], row["exact"]] == [4, 0]
    whole = one(table, truncation=50, **kept)
    assert [whole["networks"], whole["exact"], whole["log_relative_bias"]] == [4, 4, -np.inf]
    np.testing.assert_allclose(whole["cosine"], 1.0, **CLOSE)


def test_bias_tells_schemes_and_origins_apart():
    study = synthetic.study(schemes=("per_loss", "chunked"), lengths=(50,), radii=(0.9,))
    table = tables.truncation_bias(study.truncations, study.runs)
    rows = table[(table["parameter"] == "W") & (table["truncation"] == 5)]
    assert sorted(zip(rows["origin"], rows["scheme"], strict=True)) == [
        ("scheme", "chunked"),
        ("scheme", "per_loss"),
        ("wavefront", "per_loss"),
    ]
    assert set(rows["networks"]) == {4}


def test_field_of_a_scheme_is_not_of_the_wavefront():
    study = synthetic.study(schemes=("windowed",), lengths=(50,), radii=(0.9,), truncations=("5", "20"))
    study.runs["scheme_k1"] = pd.array(np.where(study.runs["truncation"] == "5", 2, 4), dtype="Int64")
    table = tables.truncation_bias(study.truncations, study.runs)
    own = table[(table["origin"] == "scheme") & (table["parameter"] == "W")]
    assert sorted(zip(own["truncation"], own["scheme_k1"], strict=True)) == [(5, 2), (20, 4)]
    assert table.loc[table["origin"] == "wavefront", "scheme_k1"].isna().all()
    assert "scheme_k1" not in tables.growth(study.runs)


def test_bias_reads_the_joined_configuration_as_well(study):
    renamed = study.truncations.merge(
        study.runs[["run_id", "scheme", "truncation"]].rename(
            columns={"scheme": "run_scheme", "truncation": "run_truncation"}
        )
    )
    alone = tables.truncation_bias(renamed)
    pd.testing.assert_frame_equal(alone, tables.truncation_bias(study.truncations, study.runs))


def test_the_bias_has_the_interval_of_its_median():
    study = synthetic.study(seeds=9, lengths=(50,), radii=(0.9,), truncations=("5",))
    kept = study.truncations[(study.truncations["origin"] == "scheme") & (study.truncations["parameter"] == "W")]
    row = one(tables.truncation_bias(study.truncations, study.runs), origin="scheme", parameter="W")
    for name in ("log_relative_bias", "cosine", "log_norm"):
        found = [row[f"{name}{end}"] for end in ("", "_low", "_high")]
        np.testing.assert_array_equal(found, np.sort(kept[name])[[4, 1, 7]])


# ------------------------------------------------------------------ curves


def test_curves_have_slope_of_rate_and_quartiles(study):
    curves = tables.growth_curves(study.jacobians, study.runs)
    part = curves[(curves["initializer_requested"] == 0.9) & (curves["sequence_length"] == 200)]
    part = part[part["quantity"] == "frobenius"].set_index("lag")
    far = part.loc[[126, 200]]
    np.testing.assert_allclose(np.diff(far["median"])[0] / (200 - 126), synthetic.slope(0.9), rtol=1e-9)
    offsets = synthetic.SPREAD * (np.arange(4) - 1.5) * 200
    band = part.loc[200, ["low", "high"]].astype(float) - part.loc[200, "median"]
    np.testing.assert_allclose(band, np.quantile(offsets, [0.25, 0.75]), rtol=1e-9)
    np.testing.assert_allclose(part.loc[200, "asymptote"], 200 * math.log(0.9), rtol=1e-12)
    np.testing.assert_allclose(part.loc[200, "bound"], 200 * math.log(1.9 * 0.9), rtol=1e-12)
    assert set(part["networks"]) == {4}


def test_curves_do_not_need_the_runs_beside_them(study):
    alone, beside = tables.growth_curves(study.jacobians), tables.growth_curves(study.jacobians, study.runs)
    pd.testing.assert_frame_equal(alone, beside)
    assert alone["bound"].notna().all()


def test_theory_is_zero_at_lag_zero_even_of_a_matrix_of_zeros(study):
    rows = study.jacobians.assign(asymptote_rate=-np.inf, bound_rate=-np.inf)
    curves = tables.growth_curves(rows)
    assert set(curves.loc[curves["lag"] == 0, "bound"]) == {0.0}
    assert set(curves.loc[curves["lag"] > 0, "asymptote"]) == {-np.inf}


def test_exact_zeros_stay_in_the_curves():
    study = synthetic.study(zero_from=12, lengths=(50,), radii=(0.5, 1.0))
    curves = tables.growth_curves(study.jacobians, study.runs)
    curves = curves[curves["quantity"] == "spectral"]
    vanished = curves[(curves["initializer_requested"] == 0.5) & (curves["lag"] >= 12)]
    assert set(vanished["median"]) == {-np.inf}
    assert set(vanished["zero"]) == {4}
    assert set(curves.loc[curves["initializer_requested"] == 1.0, "zero"]) == {0}


def test_lags_that_not_every_network_has_are_left_out():
    study = synthetic.study(triangle=True, lengths=(50,), radii=(0.9,), truncations=("full",))
    per_network = study.jacobians.groupby("seed")["lag"].nunique()
    assert per_network[0] > per_network[1]
    curves = tables.growth_curves(study.jacobians, study.runs)
    assert set(curves["lag"]) == set(synthetic.lags_of(50))
    assert set(curves["networks"]) == {4}


def test_a_curve_ends_with_the_shortest_sequence_of_a_run():
    study = synthetic.study(lengths=(50,), radii=(0.9,))
    longest = study.jacobians[study.jacobians["sequence"] == 0]
    other = longest[longest["lag"] <= 18].assign(sequence=1, log_spectral_norm=-30.0)
    other.loc[other["lag"] == 18, "lag"] = 17  # a lag that the longest one does not have
    lags = sorted(set(longest["lag"]) & set(other["lag"]))
    curves = tables.growth_curves(pd.concat([longest, other.assign(t=17)]), study.runs)
    spectral = curves[curves["quantity"] == "spectral"]
    assert spectral["lag"].tolist() == lags and lags[-1] == 15
    own = longest.groupby("lag")["log_spectral_norm"].median()
    np.testing.assert_allclose(spectral["median"].astype(float), (own[lags] - 30.0) / 2, rtol=1e-12)


def test_lag_curves_hold_every_quantity_of_every_parameter(study):
    curves = tables.lag_curves(study.lag_terms, study.runs)
    assert set(curves["quantity"]) == {"log_norm", "log_norm_per_loss", "share", "cumulative_share"}
    assert set(curves["parameter"]) == {"W", "V", "b_h"}
    raw = study.lag_terms
    raw = raw[(raw["spectral_radius"] == 1.1) & (raw["sequence_length"] == 50) & (raw["parameter"] == "V")]
    lag = int(synthetic.lags_of(50)[6])
    raw = raw[raw["lag"] == lag].drop_duplicates("network_id")
    assert len(raw) == 4
    row = one(
        curves, initializer_requested=1.1, sequence_length=50, parameter="V", quantity="cumulative_share", lag=lag
    )
    np.testing.assert_allclose(row["median"], raw["cumulative_share"].median(), **CLOSE)


# ------------------------------------------------------------------ triangle


def test_triangle_is_the_run_nearest_to_criticality():
    study = synthetic.study(triangle=True, lengths=(10, 50), radii=(0.5, 0.9, 1.5), truncations=("full",), seeds=2)
    triangle = tables.triangle(study.jacobians, study.runs)
    assert triangle["run_id"].nunique() == 1
    run = one(study.runs, run_id=triangle["run_id"].iloc[0])
    assert [run["initializer_requested"], run["sequence_length"], run["seed"]] == [0.9, 50, 0]
    assert len(triangle) == 50 * 51 // 2 + 50  # every lag of every t, the identity among them
    assert (triangle["k"] + triangle["lag"] == triangle["t"]).all()


def test_triangle_of_a_named_run_and_of_none():
    study = synthetic.study(triangle=True, lengths=(10,), radii=(0.5, 0.9), truncations=("full",), seeds=2)
    with_triangle = one(study.runs, initializer_requested=0.5, seed=0)["run_id"]
    assert set(tables.triangle(study.jacobians, study.runs, with_triangle)["run_id"]) == {with_triangle}
    without = one(study.runs, initializer_requested=0.5, seed=1)["run_id"]
    with pytest.raises(LabError, match=without):
        tables.triangle(study.jacobians, study.runs, without)
    with pytest.raises(LabError, match="triangle"):
        tables.triangle(study.jacobians[study.jacobians["run_id"] == without], study.runs)


# ------------------------------------------------------------------ writing


def test_keys_that_rounding_would_make_alike_are_told_apart():
    frame = pd.DataFrame(
        {"spectral_radius": [0.3, 0.1 + 0.2, 0.7, None], "networks": [2] * 4, "loss": [0.3, 0.1 + 0.2, 1.0, 1.0]}
    )
    rows = [line.split("|")[1:4] for line in tables.markdown(frame).splitlines()[2:]]
    assert [row[0].strip() for row in rows] == ["0.3", "0.30000000000000004", "0.7", "–"]
    assert [row[2].strip() for row in rows] == ["0.3", "0.3", "1", "1"]


AWKWARD = "a|b_c & 50% $x^2$ {~} \\ <i> #1 [z]"


def awkward():
    return pd.DataFrame(
        {
            "task": [AWKWARD, "two\nlines"],
            "initializer_requested": [0.1 + 0.2, np.nan],
            "networks": pd.array([3, 12], dtype="Int64"),
            "growth_rate": [-0.123456789012345678, -np.inf],
            "growth_rate_low": [-0.13, np.nan],
            "growth_rate_high": [-0.117, np.nan],
            "truncation": pd.array([5, pd.NA], dtype="Int64"),
        }
    )


def test_csv_keeps_names_and_every_digit():
    frame = awkward()
    back = list(csv.DictReader(io.StringIO(tables.csv(frame))))
    assert list(back[0]) == list(frame.columns)
    assert [row["task"] for row in back] == frame["task"].tolist()
    for name in ("initializer_requested", "growth_rate", "growth_rate_low", "truncation"):
        for row, value in zip(back, frame[name], strict=True):
            assert row[name] == "" if pd.isna(value) else float(row[name]) == value


def test_markdown_escapes_rounds_and_names_the_unit():
    lines = tables.markdown(awkward()).splitlines()
    assert len(lines) == 4
    assert "asymptotic rate (nat/step), median \\[95 %, order statistics\\]" in lines[0]
    assert r"a\|b\_c &amp; 50% \$x^2\$ {\~} \\ &lt;i&gt; \#1 \[z\]" in lines[2]
    assert r"-0.1235 \[-0.1300, -0.1170\]" in lines[2]
    assert r"| two lines | – | 12 | -inf \[n &lt; 6\] | full |" in lines[3]
    assert len({len(re.findall(r"(?<!\\)\|", line)) for line in lines}) == 1


def test_latex_escapes_text_and_sets_numbers_as_mathematics():
    text = tables.latex(awkward())
    assert r"a\textbar{}b\_c \& 50\% \$x\textasciicircum{}2\$ \{\textasciitilde{}\} \textbackslash{}" in text
    assert r"\textless{}i\textgreater{} \#1 {[}z{]}" in text
    assert "$-0.1235$ [$-0.1300$, $-0.1170$]" in text
    assert r"$-\infty$" in text
    assert text.count(r"\begin{tabular}") == text.count(r"\toprule") == 3
    small = tables.latex(pd.DataFrame({"x": [1e-7]}))
    assert r"$1 \times 10^{-7}$" in small


def test_written_files_are_the_same_bytes_again(tmp_path, study):
    table = tables.growth(study.runs)
    first = {path.name: path.read_bytes() for path in tables.write(table, tmp_path / "deep" / "growth")}
    again = {path.name: path.read_bytes() for path in tables.write(table, tmp_path / "deep" / "growth")}
    assert sorted(first) == ["growth.csv", "growth.md", "growth.tex"]
    assert first == again
    assert sorted(path.name for path in (tmp_path / "deep").iterdir()) == sorted(first)
    assert tables.csv(tables.growth(study.runs.sample(frac=1, random_state=1))).encode() == first["growth.csv"]


def test_what_cannot_be_written_is_named_in_one_line(tmp_path, study):
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match=r"growth\.csv") as raised:
        tables.write(tables.growth(study.runs), tmp_path / "file" / "growth")
    assert "\n" not in str(raised.value)


def test_print_says_why_there_is_no_interval():
    frame = pd.DataFrame({"log_growth": [-1.5], "log_growth_low": [np.nan], "log_growth_high": [np.nan]})
    assert tables.present(frame).iloc[0, 0] == "-1.5 [n < 6]"
    assert "% growth over T: median, no interval (n < 6)" in tables.latex(frame)
    drawn = frame.rename(columns=lambda name: name.replace("log_growth", "relative_derivative"))
    assert tables.present(drawn).iloc[0, 0] == "-1.5"
    assert list(tables.present(frame.add_prefix("own_"))) == ["own_log_growth, [low, high]"]


def test_an_interval_may_end_at_minus_infinity():
    frame = pd.DataFrame({"log_growth": [-np.inf, np.nan], "log_growth_low": [-np.inf, 0.5]})
    assert list(tables.present(frame.assign(log_growth_high=[-3.25, 1.0])).iloc[:, 0]) == [
        "-inf [-inf, -3.25]",
        "– [0.5, 1]",
    ]


# ------------------------------------------------------------------ all together


def test_summaries_leave_out_what_was_not_measured(study):
    assert list(tables.summaries(study)) == [
        *("headline", "growth", "sufficient_truncation", "critical_spectral_radius", "truncation_bias")
    ]
    study = synthetic.study(lengths=(10,), radii=(0.9,))
    study.truncations = study.truncations.iloc[:0]
    assert list(tables.summaries(study)) == ["headline", "growth"]
    study.runs = study.runs.iloc[:0]
    with pytest.raises(LabError, match="no runs"):
        tables.summaries(study)


def test_summaries_change_nothing_they_are_given(study):
    before = {name: frame.copy() for name, frame in synthetic.frames_of(study).items() if name != "name"}
    tables.summaries(study)
    tables.growth_curves(study.jacobians, study.runs)
    tables.lag_curves(study.lag_terms, study.runs)
    for name, frame in before.items():
        pd.testing.assert_frame_equal(getattr(study, name), frame)


@pytest.mark.parametrize(
    ("names", "main"),
    [(["b_h", "W", "V"], "W"), (["W_2", "W_1", "V_1"], "W_1"), (["theta", "V", "nu"], "V"), ([], "W")],
)
def test_the_parameter_to_show_where_one_has_to_do(names, main):
    assert tables.main_parameter(pd.DataFrame({"parameter": names})) == main
