"""A monitor measures every n-th update of somebody's loop into a study, and never raises into the loop."""

import random
import subprocess
import sys
import warnings
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

import bpttlab as lab
from bpttlab.cli import main
from bpttlab.errors import ConfigurationError, LabError, LabWarning
from bpttlab.measures.measure import Measure
from tests.support.monitoring import PROBE, B, N, T, load, make_monitor, make_network, train

pytestmark = pytest.mark.usefixtures("quick_disk")


# ------------------------------------------------------------------ what is stored


def test_every_nth_update_is_a_run_with_its_update(tmp_path):
    monitor = make_monitor(tmp_path, every=2)
    train(monitor, updates=5)
    study = load(tmp_path)
    assert sorted(study.runs["update"]) == [0, 2, 4]
    assert (study.runs["status"] == "done").all() and monitor.measured == 3
    assert set(study.jacobians["update"]) == set(study.lag_terms["update"]) == {0, 2, 4}


def test_the_rows_are_those_of_the_functions(tmp_path):
    cell, params = train(make_monitor(tmp_path))
    last = load(tmp_path, where={"update": 4})
    trace = lab.forward(cell, params, PROBE)
    products = lab.jacobian_products(trace)
    expected = products[products["sequence"] < 2].sort_values(["sequence", "lag"])["log_spectral_norm"]
    found = last.jacobians.sort_values(["sequence", "lag"])["log_spectral_norm"]
    np.testing.assert_allclose(found, expected, rtol=1e-12)


def test_without_targets_the_loss_is_that_of_the_last_state(tmp_path):
    cell, params = make_network()
    make_monitor(tmp_path, settings={"lag_terms": "all"})(0, (cell, params))
    study = load(tmp_path)
    units = {**params, "U": np.eye(N), "b_y": np.zeros(N)}
    trace = lab.forward(lab.Elman(2, N, N), units, PROBE)
    errors = np.concatenate([np.zeros((T - 1, B, N)), trace.h[-1:] / B])
    expected = lab.lag_terms(trace, errors).query("parameter == 'W'")["log_norm"]
    found = study.lag_terms[study.lag_terms["parameter"] == "W"]["log_norm"]
    np.testing.assert_allclose(found, expected, rtol=1e-12)
    assert study.runs["loss"].isna().all()


def test_with_targets_the_loss_is_that_of_the_readout(tmp_path):
    cell, params = make_network()
    targets = np.ones((B, 1))
    make_monitor(tmp_path, targets=targets)(0, (cell, params))
    y_hat = lab.forward(cell, params, PROBE).y_hat[-1]
    assert load(tmp_path).runs["loss"].item() == pytest.approx(float(((y_hat - 1) ** 2).mean()))


LENGTHS = np.array([6, 2, 4])


def test_each_sequence_is_measured_to_its_own_end(tmp_path):
    cell, params = make_network()
    x = np.where(np.arange(T)[:, None, None] < LENGTHS[:, None], PROBE, np.nan)
    make_monitor(tmp_path, probe=x, lengths=LENGTHS, settings={"sequences": 3})(0, (cell, params))
    rows = load(tmp_path).jacobians
    assert rows.groupby("sequence")["lag"].max().tolist() == LENGTHS.tolist()
    assert load(tmp_path).sequence_lengths["length"].tolist() == LENGTHS.tolist()
    alone = lab.jacobian_products(lab.forward(cell, params, PROBE[:2, 1:2]))["log_spectral_norm"]
    np.testing.assert_allclose(rows.query("sequence == 1")["log_spectral_norm"], alone, rtol=1e-12)


@pytest.mark.parametrize("targets", [np.ones((B, 1)), np.zeros(B, int)])
def test_targets_of_the_last_step_are_those_of_each_length(tmp_path, targets):
    cell, params = make_network(cell=lab.Elman(2, N, 1 if targets.ndim == 2 else 3))
    make_monitor(tmp_path, targets=targets, lengths=LENGTHS)(0, (cell, params))
    last = [lab.forward(cell, params, PROBE[:steps, b : b + 1]).y_hat[-1, 0] for b, steps in enumerate(LENGTHS)]
    each = [np.log(np.exp(y - y[0]).sum()) if targets.ndim == 1 else ((y - 1) ** 2).sum() for y in last]
    assert load(tmp_path).runs["loss"].item() == pytest.approx(np.mean(each))


def test_the_loss_of_the_loop_is_recorded(tmp_path):
    train(make_monitor(tmp_path), updates=1)
    runs = load(tmp_path).runs.sort_values("update")
    assert runs["training_loss"].tolist() == [1.0, 0.5]


def test_exponents_and_settings_of_the_group_measure(tmp_path):
    monitor = make_monitor(tmp_path, measures=["lyapunov"], settings={"exponents": 2, "measure.sequences": 1})
    train(monitor, updates=0)
    assert len(load(tmp_path).spectra) == 2
    assert load(tmp_path).jacobians.empty


def test_equal_loops_store_equal_rows(tmp_path):
    for study in ("one", "two"):
        train(make_monitor(tmp_path, study), updates=1)
    one, two = (load(tmp_path, study) for study in ("one", "two"))
    assert one.runs.equals(two.runs) and one.jacobians.equals(two.jacobians)


def test_random_streams_are_not_touched(tmp_path):
    random.seed(3)
    before = random.getstate(), np.random.get_state()[1].tolist()  # noqa: NPY002  # as a training loop may have it
    train(make_monitor(tmp_path), updates=1)
    assert (random.getstate(), np.random.get_state()[1].tolist()) == before  # noqa: NPY002


# ------------------------------------------------------------------ several training runs, and loops that are repeated


def test_seeds_are_networks_of_one_label(tmp_path):
    for seed in range(6):
        train(make_monitor(tmp_path, seed=seed, label="small", measures=["jacobian_products"]), seed=seed, updates=1)
    growth = lab.tables.growth(load(tmp_path).runs)
    assert growth["networks"].tolist() == [6, 6]
    assert growth["update"].tolist() == [0, 1]
    assert growth["growth_rate_low"].notna().all()


def test_labels_are_names_in_tables_in_their_order(tmp_path):
    for label in ("b", "a"):
        train(make_monitor(tmp_path, label=label), updates=1)
    runs = load(tmp_path).runs
    assert dict(zip(runs["cell_label"], runs["network_order"], strict=True)) == {"a": 1, "b": 2}
    assert set(lab.tables.headline(lab.tables.growth(runs))["cell_label"]) == {"a", "b"}


def test_a_loop_goes_on_in_the_study_that_it_began(tmp_path):
    train(make_monitor(tmp_path), updates=2)
    train(make_monitor(tmp_path), updates=4, first=3)
    assert sorted(load(tmp_path).runs["update"]) == [0, 1, 2, 3, 4]


def test_a_loop_that_begins_again_replaces_its_updates(tmp_path):
    train(make_monitor(tmp_path), updates=3)
    train(make_monitor(tmp_path, measures=["jacobian_products"]), updates=2, factor=2.0)
    runs = load(tmp_path).runs.sort_values("update")
    assert runs["update"].tolist() == [0, 1, 2, 3]
    assert runs["measure_lag_terms"].tolist() == ["none", "none", "none", "log"]


def test_what_was_published_survives_a_kill(tmp_path):
    code = (
        "import os, signal\n"
        "from tests.support.monitoring import make_monitor, make_network\n"
        f"monitor = make_monitor({str(tmp_path)!r})\n"
        "for update in range(3): monitor(update, make_network())\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    root = Path(__file__).resolve().parents[2]
    subprocess.run([sys.executable, "-c", code], cwd=root, check=False, timeout=120)
    assert sorted(load(tmp_path).runs["update"]) == [0, 1, 2]
    assert main(["status", "study=mine", f"results={tmp_path}"]) == 0


# ------------------------------------------------------------------ what goes wrong is a row


def failed_row(folder):
    (row,) = load(folder).runs.to_dict("records")
    return row


def test_a_weight_that_is_nan_is_a_failed_row(tmp_path):
    cell, params = make_network()
    params["W"][1, 2] = np.nan
    with pytest.warns(LabWarning, match="update 3 has a row without results: params"):
        make_monitor(tmp_path)(3, (cell, params), loss=np.nan)
    row = failed_row(tmp_path)
    assert row["status"] == "failed" and "not finite" in row["error"] and row["update"] == 3
    assert row["cell"] == "elman"


def test_a_state_that_overflows_is_a_diverged_row(tmp_path):
    cell = lab.Elman(input_size=2, hidden_size=N, output_size=1, activation="identity")
    _, params = make_network(cell=cell)
    params["W"] = params["W"] * 1e200
    with pytest.warns(LabWarning):
        make_monitor(tmp_path)(0, (cell, params))
    assert failed_row(tmp_path)["status"] == "diverged"


@dataclass(frozen=True)
class Broken(Measure):
    """A measure of somebody's own that fails."""

    name = "broken"

    def __call__(self, context):
        raise ZeroDivisionError("nothing to divide")


def test_a_measure_that_raises_is_a_failed_row(tmp_path):
    monitor = make_monitor(tmp_path, measures=["jacobian_products", Broken()])
    with pytest.warns(LabWarning, match="nothing to divide"):
        monitor(0, make_network())
    assert failed_row(tmp_path)["error"] == "ZeroDivisionError: nothing to divide"
    assert monitor.failed == 1


def test_a_fault_is_said_once_and_the_loop_trains_on(tmp_path):
    monitor = make_monitor(tmp_path)
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        for update in range(3):
            monitor(update, object())
    assert [str(one.message) for one in said if one.category is LabWarning] == [
        "monitor of study 'mine': update 0 has a row without results: network: a object is not supported: must be "
        "a module of PyTorch, or a pair (cell, params); convert= makes such a pair of anything else"
    ]
    assert load(tmp_path).runs["status"].tolist() == ["failed"] * 3


@pytest.mark.filterwarnings("error")
def test_warnings_as_errors_do_not_reach_the_loop(tmp_path, capsys):
    make_monitor(tmp_path)(0, object())
    assert "is not supported" in capsys.readouterr().err


@pytest.mark.parametrize("update", [-1, 1.5, "late", None, True])
def test_an_update_that_is_no_number_is_not_measured(tmp_path, update):
    monitor = make_monitor(tmp_path)
    with pytest.warns(LabWarning, match="update is left out: update=.*: must be an integer >= 0"):
        monitor(update, make_network())
    monitor.measure(update, make_network())
    assert monitor.measured == monitor.failed == 0


@pytest.mark.parametrize("loss", ["low", np.ones(2)])
def test_a_loss_that_is_no_number_is_left_out(tmp_path, loss):
    with pytest.warns(LabWarning, match="loss is left out"):
        make_monitor(tmp_path)(np.int64(0), make_network(), loss=loss)
    (row,) = load(tmp_path).runs.to_dict("records")
    assert row["status"] == "done" and np.isnan(row["training_loss"])


def test_a_full_disk_does_not_reach_the_loop(tmp_path, monkeypatch):
    monitor = make_monitor(tmp_path)

    def refuse(*arguments):
        raise LabError("the disk is full")

    monkeypatch.setattr(monitor.store, "publish", refuse)
    with pytest.warns(LabWarning, match="update 0 is not stored: the disk is full"):
        monitor(0, make_network())


def test_convert_makes_a_network_of_anything(tmp_path):
    monitor = make_monitor(tmp_path, convert=lambda seed: make_network(seed))
    monitor(0, 3)
    assert load(tmp_path).runs["status"].item() == "done"
    with pytest.warns(LabWarning, match="convert: a int is no network: must be a pair"):
        make_monitor(tmp_path, convert=lambda seed: seed)(1, 3)
    with pytest.warns(LabWarning, match="convert: raises ZeroDivisionError: division by zero"):
        make_monitor(tmp_path, convert=lambda seed: seed / 0)(2, 3)


def test_networks_may_change_their_size(tmp_path):
    monitor = make_monitor(tmp_path)
    for update, size in enumerate((4, 5)):
        monitor(update, make_network(cell=lab.Elman(2, size, 1)))
    assert sorted(load(tmp_path).runs["cell_hidden_size"]) == [4, 5]


@pytest.mark.parametrize(
    ("cell", "targets", "reason"),
    [
        (lab.Elman(3, N, 1), None, "probe: has I = 2, and the network takes 3 inputs"),
        (lab.Elman(2, N, 2), np.ones((B, 1)), "targets: have O = 1, and the network gives 2"),
        (lab.Elman(2, N, 3), np.array([0, 7, 2]), "target: holds the class 7; must be from 0 to 2"),
        (lab.Elman(2, N, 3), np.full((T, B), -1), "target: holds the class -1; must be from 0 to 2"),
    ],
)
def test_a_probe_of_other_sizes_is_a_failed_row(tmp_path, cell, targets, reason):
    with pytest.warns(LabWarning):
        make_monitor(tmp_path, targets=targets)(0, make_network(cell=cell))
    assert failed_row(tmp_path)["error"].startswith(reason)


# ------------------------------------------------------------------ what is refused at once


@pytest.mark.parametrize(
    ("chosen", "message"),
    [
        ({"every": 0}, "every=0: must be an integer >= 1"),
        ({"seed": -1}, "seed=-1: must be an integer >= 0"),
        ({"study": "a/b"}, "study = 'a/b': must be a name"),
        ({"label": "two\nlines"}, "label='two\\\\nlines': must be one line"),
        ({"engine": "numb"}, "engine='numb': must be one of numpy, numba. Did you mean"),
        ({"measures": ["lyapunof"]}, "measures: 'lyapunof' is no measure.*Did you mean 'lyapunov'"),
        ({"measures": "lyapunov"}, "measures='lyapunov': must be a list"),
        ({"measures": []}, "measures=.*must name one or more"),
        ({"settings": {"exponent": 2}}, "settings: there is no 'exponent'.*Did you mean 'exponents'"),
        ({"settings": {"exponents": "many"}}, "measure.exponents='many': must be"),
        ({"probe": np.zeros((3, 2))}, r"probe: shape \(3, 2\); must be \(T, B, I\)"),
        ({"probe": np.full((3, 1, 2), np.nan)}, "probe: not finite at step t = 1"),
        ({"probe": np.zeros((3, 1, 2), complex)}, "probe: has the type complex128"),
        ({"probe": "x"}, "probe: .*"),
        ({"targets": np.ones((T, B))}, r"targets: shape \(6, 3\); must be \(T, B, O\), or \(B, O\)"),
        ({"targets": np.ones((B, T, 1))}, "steps come before sequences"),
        ({"targets": np.ones((B, 1)), "loss": "squarred_error"}, "Did you mean 'squared_error'"),
        ({"lengths": [7, 1, 1]}, "lengths: holds 7 for sequence 0"),
        ({"convert": 3}, "convert=3: must be a function"),
        ({"loss": "squared_error"}, "loss='squared_error': a probe has a loss only with targets="),
    ],
)
def test_wrong_arguments_are_refused_at_once(tmp_path, chosen, message):
    with pytest.raises(ConfigurationError, match=message):
        make_monitor(tmp_path, **chosen)
    assert not list(tmp_path.iterdir())


# ------------------------------------------------------------------ on the command line


def test_watching_the_status_says_how_updates_are_followed(tmp_path, capsys):
    make_monitor(tmp_path)(0, make_network())
    assert main(["status", "study=mine", f"results={tmp_path}", "--watch"]) == 0
    counts, advice = capsys.readouterr().out.splitlines()
    assert counts.endswith("1 run of 1 network: 1 done")
    assert "bpttlab tables study=mine table=updates --watch" in advice


def test_watching_prints_again_when_an_update_was_added(tmp_path, monkeypatch, capsys):
    monitor = make_monitor(tmp_path)
    monitor(0, make_network())
    looks, printed = [], []

    def measure_then_stop(seconds):
        looks.append(seconds)
        if len(looks) == 4:
            raise KeyboardInterrupt
        if len(looks) < 3:
            monitor(len(looks), make_network())

    monkeypatch.setattr("time.sleep", measure_then_stop)
    monkeypatch.setattr("bpttlab.cli.tables.write_and_print", printed.append)
    assert main(["tables", "study=mine", "table=updates", f"results={tmp_path}", "--watch"]) == 0
    assert len(printed) == 3
    assert main(["tables", "study=mime", f"results={tmp_path}", "--watch"]) == 2
    assert "Did you mean 'mine'" in capsys.readouterr().err
