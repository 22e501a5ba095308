"""One run and one bundle: the same rows alone and together, failures as rows."""

import numpy as np
import pytest

from bpttlab.errors import ConfigurationError, DivergedError
from bpttlab.store import identity
from bpttlab.sweeps import run as run_module
from bpttlab.sweeps.configuration import Configuration
from bpttlab.sweeps.run import build_network, measure_bundle, run

SMALL = {"engine": "numpy", "cell": {"name": "elman", "hidden_size": 6}, "sequence_length": 12, "batch_size": 3}


def small(**changes):
    return Configuration.parse({**SMALL, **changes})


def same(one, other):
    return np.array_equal(one, other, equal_nan=np.asarray(one).dtype.kind == "f")


def check_same(one, other):
    assert {k: v for k, v in one.run.items() if v == v} == {k: v for k, v in other.run.items() if v == v}
    assert one.tables.keys() == other.tables.keys()
    for name, table in other.tables.items():
        assert all(same(one.tables[name][column], values) for column, values in table.items())


def test_a_bundle_gives_the_bytes_of_its_runs_alone():
    configurations = [small(truncation=K, scheme=scheme) for K in (3, 5, "full") for scheme in ("per_loss", "chunked")]
    for together, configuration in zip(measure_bundle(configurations), configurations, strict=True):
        check_same(together, run(configuration))


@pytest.mark.parametrize("dtype", ["float64", pytest.param("float32", marks=pytest.mark.slow)])
@pytest.mark.parametrize(
    "activation",
    ["tanh", "relu", *(pytest.param(name, marks=pytest.mark.slow) for name in ("logistic", "identity"))],
)
def test_lengths_have_the_same_bytes_bundled_and_alone(activation, dtype):
    cell = {"name": "elman", "hidden_size": 6, "activation": activation, "output_activation": activation}
    lengths = (1, 7, 63, 64, 65, 130)
    configurations = [
        small(cell=cell, dtype=dtype, sequence_length=T, truncation=K) for T in lengths for K in (5, "full")
    ]
    assert len({configuration.bundle_key for configuration in configurations}) == 1
    for together, configuration in zip(measure_bundle(configurations), configurations, strict=True):
        check_same(together, run(configuration))


def test_a_length_that_ends_before_the_overflow_is_done():
    cell = {"name": "elman", "hidden_size": 6, "activation": "relu"}
    short, long = (small(cell=cell, spectral_radius=50, sequence_length=T) for T in (10, 400))
    assert short.bundle_key == long.bundle_key
    assert [record.run["status"] for record in measure_bundle([long, short])] == ["diverged", "done"]


def test_tasks_that_move_with_the_length_share_nothing():
    assert small(task="adding").bundle_key != small(task="adding", sequence_length=13).bundle_key


def test_a_run_is_reproducible():
    one, other = run(small(seed=3)), run(small(seed=3))
    assert one.run == other.run
    assert run(small(seed=4)).run["loss"] != one.run["loss"]


def test_networks_of_a_seed_differ_by_a_factor_over_radii():
    _, one = build_network(small(spectral_radius=0.5))
    _, other = build_network(small(spectral_radius=1.5, sequence_length=30, truncation=2))
    np.testing.assert_allclose(other["W"], 3.0 * one["W"], rtol=1e-15)
    np.testing.assert_array_equal(other["V"], one["V"])


def test_w_is_the_same_for_every_task():
    _, noise = build_network(small())
    _, adding = build_network(small(task="adding"))
    np.testing.assert_array_equal(noise["W"], adding["W"])


@pytest.mark.parametrize("task", ["noise", "adding", {"name": "digits", "by": "row"}])
@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_every_task_and_dtype_runs(task, dtype):
    records = run(small(task=task, dtype=dtype, truncation=4))
    assert records.run["status"] == "done"
    assert set(records.tables) == {"jacobians", "lag_terms", "truncations"}
    assert np.isfinite(records.run["growth_rate"])
    assert records.jacobians["lag"].max() == 12
    assert records.run["configuration"] == identity.canonical(small(task=task, dtype=dtype, truncation=4).plain)


def test_gradient_norm_is_of_all_parameters_of_the_scheme():
    from bpttlab.gradients.backward import backward

    configuration = small(truncation=4)
    trace, batch = run_module.run_network(configuration)
    loss = configuration.task.loss(trace.y_hat, batch)
    gradients = backward(trace, loss, configuration.scheme)
    size = np.sqrt(sum((value**2).sum() for name, value in gradients.items() if name != "h_0"))
    assert run(configuration).run["log_gradient_norm"] == pytest.approx(np.log(size), rel=1e-12)


def test_measures_that_were_not_asked_leave_no_rows():
    records = run(small(truncation=4, measure={"jacobians": "none", "lag_terms": "none"}))
    assert set(records.tables) == {"truncations"}
    assert set(records.tables["truncations"]["origin"]) == {"scheme"}
    assert "growth_rate" not in records.run
    only_own = run(small(truncation=4, measure={"truncations": "none"}))
    assert set(only_own.tables["truncations"]["origin"]) == {"scheme"}


def test_an_overflow_is_a_diverged_row_with_its_step():
    diverging = small(
        cell={"name": "elman", "hidden_size": 6, "activation": "relu"}, spectral_radius=50, sequence_length=400
    )
    with pytest.raises(DivergedError):
        run(diverging)
    (record,) = measure_bundle([diverging])
    assert record.run["status"] == "diverged"
    assert 1 < record.run["first_bad_step"] < 400
    assert str(record.run["first_bad_step"]) in record.run["error"]
    assert record.run["rho"] == pytest.approx(50.0)
    assert record.tables == {}


def test_a_failure_is_a_row_with_its_reason(monkeypatch):
    def broken(*arguments, **named):
        raise RuntimeError("out of luck")

    monkeypatch.setattr("bpttlab.sweeps.run.forward", broken)
    for record in measure_bundle([small(), small(truncation=3)]):
        assert record.run["status"] == "failed"
        assert "RuntimeError: out of luck" in record.run["error"]
        assert record.run["run_id"]
        assert record.provenance["numpy"] == np.__version__


def test_runs_that_do_not_belong_together_are_refused():
    with pytest.raises(ConfigurationError, match="may differ in scheme and truncation"):
        run_module.measure([small(), small(seed=1)])


def test_provenance_says_where_and_with_what():
    (record,) = measure_bundle([small()])
    assert record.provenance["seconds"] > 0
    assert record.provenance["blas_threads"] >= 1
    assert record.provenance["started"].endswith("+00:00")
