"""Modern cells: claims that hold on smaller networks, and fail on doctored tables."""

import numpy as np
import pytest

from bpttlab.networks.cells import CoRNN
from tests.support.analysed import analysis_of, draw, failing, swept, tables_of

pytestmark = pytest.mark.slow  # a sweep of many networks; `make verify` runs it

TABLES = ("runs", "blocks", "jacobians", "sensitivity")
MEASURE = {"sequences": 1, "lags": 8, "bound_lags": 0, "lag_terms": "none", "truncations": "none", "exponents": 1,
           "sensitivity_steps": 6, "transient_lags": 5}  # fmt: skip
LIPSCHITZ = {"name": "lipschitz_rnn", "hidden_size": 12}
CELLS = [
    {"cell": {"name": "elman", "hidden_size": 16}},
    {"cell": {"name": "lstm", "hidden_size": 8}},
    {"cell": {"name": "slstm", "hidden_size": 8}},
    {"cell": {"name": "min_gru", "hidden_size": 40}},
    {"cell": {"name": "selective_diagonal", "hidden_size": 16, "channel_states": 3}},
    {"cell": {"name": "cornn", "hidden_size": 12}},
    {"cell": {"name": "cornn", "hidden_size": 12, "dt": 0.0105}},
    {"cell": LIPSCHITZ, "initializer": {"name": "gaussian", "gain": 1.0}},
    {"cell": LIPSCHITZ, "initializer": {"name": "gaussian", "gain": 0.3}},
]


def reduced():
    """The sweep of the experiment with fewer and smaller networks."""
    return [{"sequence_length": 200, "batch_size": 4, "seed": seed, "measure": MEASURE,
             "task": {"name": "delayed_recall", "delay": delay}, **cell}
            for cell in CELLS for delay in (20, 180) for seed in range(6)]  # fmt: skip


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    return swept(reduced(), "modern", tmp_path_factory)


@pytest.fixture(scope="module")
def analysis():
    return analysis_of("modern_cells")


LOOSE = "lost in a step"
"""Claims that six small networks may leave undecided."""


def test_every_claim_holds_on_smaller_networks(study, analysis):
    claims = analysis["claims"](study)
    loose = claims["claim"].str.contains(LOOSE)
    assert claims.loc[~loose, "held"].all(), claims[~claims["held"]].to_string()
    assert (claims["verdict"] != "fails").all()
    assert len(claims) == 26


@pytest.mark.parametrize(
    ("cell", "column", "change", "words"),
    [
        ("cornn", "log_relevant_gradient", lambda runs: runs - 60.0 * (runs.index % 2), "LSTM less coRNN"),
        ("cornn", "growth_rate", lambda runs: 0.0 * runs, "exponential decay"),
        ("lipschitz_rnn", "growth_rate", lambda runs: runs - 1.0, "growth rate of the Lipschitz RNN"),
        ("selective_diagonal", "growth_rate", lambda runs: runs - 1.0, "growth rate of S6"),
        ("elman", "lyapunov_exponent", lambda runs: runs + 1.0, "exponent away from the growth rate"),
    ],
)
def test_claims_fail_on_doctored_runs(study, analysis, cell, column, change, words):
    runs = study.runs.copy()
    own = (runs["cell"] == cell).to_numpy()
    if column == "log_relevant_gradient":
        runs.loc[own & (runs["task_delay"] == 180), column] -= 60.0
    else:
        runs.loc[own, column] = change(runs.loc[own, column].astype(float))
    claims = analysis["claims"](tables_of(study, TABLES, runs=runs))
    assert any(words in text for text in failing(claims))


def test_what_is_exact_fails_where_it_is_not(study, analysis):
    jacobians = study.jacobians.assign(log_spectral_norm=study.jacobians["log_spectral_norm"] + 2.0)
    failed = failing(analysis["claims"](tables_of(study, TABLES, jacobians=jacobians)))
    for words in (
        "any lag, coRNN",
        "coRNN less its bound",
        "from its recurrence",
        "minGRU, at most",
        "from its inputs",
    ):
        assert sum(words in text for text in failed) == 1, words
    blocks = study.blocks.assign(log_spectral_norm=study.blocks["log_spectral_norm"] + 1e-3)
    assert any("ds_T/ds_(T-l)" in text for text in failing(analysis["claims"](tables_of(study, TABLES, blocks=blocks))))


def test_a_millionth_is_no_rounding_of_a_recurrence(study, analysis):
    jacobians = study.jacobians.assign(log_spectral_norm=study.jacobians["log_spectral_norm"] + 1e-6)
    failed = failing(analysis["claims"](tables_of(study, TABLES, jacobians=jacobians)))
    assert any("of coRNN from its recurrence" in text for text in failed)


@pytest.mark.parametrize("dt", [0.001, 0.042, 0.3, 1.0])
@pytest.mark.parametrize("scale", [0.0, 0.3, 3.0])
def test_the_bound_of_a_step_is_above_any_jacobian(analysis, dt, scale):
    rng, cell = np.random.default_rng(0), CoRNN(input_size=1, hidden_size=5, output_size=0, dt=dt)
    for _ in range(20):
        params = {name: scale * rng.standard_normal(shape) for name, shape in cell.shapes().items()}
        J = cell.jacobian(params, cell.gain * rng.uniform(size=5))
        bound = analysis["bound_of_a_step"](cell, params)
        assert np.linalg.norm(J, 2) <= bound < 1.0 + dt * 20.0 * (1.0 + scale)


def test_tables_have_a_row_for_each_cell(study, analysis):
    found = analysis["summaries"](study)
    assert set(found["cells"]["variant"]) == set(analysis["VARIANTS"]) and (found["cells"]["networks"] == 6).all()
    assert np.isfinite(found["cells"]["lost"]).all() and len(found["sensitivity"]) == 9 * 6


@pytest.mark.parametrize("size", ["page", "column"])
def test_the_figure_is_drawn(study, analysis, size):
    assert len(draw(analysis, study, size).axes) == 3
