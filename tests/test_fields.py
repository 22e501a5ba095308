"""Values of NumPy and integers written as floats are taken wherever a Python value is, and become that value."""

import json
from dataclasses import astuple

import numpy as np
import pytest

import bpttlab as lab
from bpttlab.errors import ConfigurationError
from bpttlab.fields import check_integer, python_value
from bpttlab.sweeps.configuration import GROUPS, TRAINING_GROUPS, Configuration, choices_of_group, fields_of_choice
from bpttlab.sweeps.hydra_composition import composer
from bpttlab.sweeps.plan import Options, separate
from bpttlab.tasks import Copy, TemporalOrder
from bpttlab.truncation.averaged import Random

INTEGERS = [np.int64, np.uint8, np.int8, np.array, float, np.float32, np.float64, lambda value: np.array(float(value))]


@pytest.mark.parametrize("kind", INTEGERS, ids=range(len(INTEGERS)))
def test_numpy_values_configure_the_same_run(kind):
    python = {
        "seed": 3,
        "spectral_radius": 0.5,
        "sequence_length": 20,
        "truncation": 7,
        "cell": {"name": "lstm", "hidden_size": 4, "chrono": 10},
        "task": {"name": "copy", "symbols": 3, "alphabet": 4},
        "scheme": {"name": "windowed", "k1": 2},
        "scales": {"V": 2.0},
        "measure": {"lags": 9, "exponents": 2, "log_scale": True},
    }
    numpy = {
        name: {field: kind(item) if type(item) is int else np.array(item) for field, item in value.items()}
        if isinstance(value, dict)
        else kind(value)
        if type(value) is int
        else np.float32(value)
        for name, value in python.items()
    }
    one, other = Configuration.parse(numpy), Configuration.parse(python)
    assert (one.run_id, one.network_id, one.bundle_key) == (other.run_id, other.network_id, other.bundle_key)
    assert json.dumps(one.plain, sort_keys=True) == json.dumps(other.plain, sort_keys=True)


@pytest.mark.parametrize("kind", INTEGERS, ids=range(len(INTEGERS)))
def test_objects_hold_values_of_python(kind):
    for one, other in (
        (lab.Elman(kind(2), kind(4), kind(1), np.str_("relu")), lab.Elman(2, 4, 1, "relu")),
        (lab.OrthogonalElman(kind(2), kind(4), kind(1)), lab.OrthogonalElman(2, 4, 1)),
        (lab.Leaky(2, 4, 1, alpha=kind(1)), lab.Leaky(2, 4, 1, alpha=1.0)),
        (lab.Stacked(2, kind(4), 1, kind(3), "gru"), lab.Stacked(2, 4, 1, 3, "gru")),
        (lab.Diagonal(2, 4, 1, normalise=np.bool_(False)), lab.Diagonal(2, 4, 1, normalise=False)),
        (lab.PerLoss(kind(5)), lab.PerLoss(5)),
        (lab.Windowed(kind(2), kind(5)), lab.Windowed(2, 5)),
        (Copy(kind(20), kind(3), kind(4)), Copy(20, 3, 4)),
        (TemporalOrder(kind(20), kind(3)), TemporalOrder(20, 3)),
        (lab.Sparse(kind(2), np.float64(0.5)), lab.Sparse(2.0, 0.5)),
        (lab.Scales(V=kind(2)), lab.Scales(V=2.0)),
    ):
        assert one == other
        assert list(map(type, astuple(one))) == list(map(type, astuple(other)))


def test_small_integers_of_numpy_do_not_overflow():
    cell, rng = lab.Elman(2, 3, 1), np.random.default_rng(0)
    trace = lab.forward(cell, cell.init(rng), rng.standard_normal((300, 2, 2)))
    errors = np.ones((300, 2, 1))
    one, other = (lab.backward(trace, errors, lab.PerLoss(K)) for K in (np.uint8(200), 200))
    assert one["W"].tobytes() == other["W"].tobytes()
    assert lab.lyapunov_spectrum(cell, trace.params, trace.x, count=np.array(2), transient=1e2).equals(
        lab.lyapunov_spectrum(cell, trace.params, trace.x, count=2, transient=100)
    )


NO_INTEGERS = [
    np.ma.masked,
    np.float64,
    np.datetime64("2020-01-01"),
    10.5,
    True,
    np.bool_(True),
    np.nan,
    np.inf,
    1j,
    "3",
    np.array([3, 4]),
    np.array([3]),
    2.0**60,
    None,
]


@pytest.mark.parametrize("value", NO_INTEGERS, ids=map(repr, NO_INTEGERS))
def test_what_is_no_integer_is_refused_in_one_line(value):
    cell, rng = lab.Elman(2, 3, 1), np.random.default_rng(0)
    trace = lab.forward(cell, cell.init(rng), rng.standard_normal((9, 2, 2)))
    refused = {
        "hidden_size": lambda: lab.Elman(2, value, 1),
        "task.symbols": lambda: Copy(30, symbols=value),
        "truncation": lambda: lab.PerLoss(value),
        "size": lambda: lab.Gaussian().sample(rng, value),
        "cell.hidden_size": lambda: lab.run({"cell": {"name": "elman", "hidden_size": value}}),
        "sequences": lambda: lab.jacobian_products(trace, sequences=value),
        "count": lambda: lab.lag_terms(trace, np.ones((9, 2, 1)), count=value),
        "steps": lambda: lab.forward_sensitivity(trace, steps=value),
        "n": lambda: lab.snap(trace, np.ones((9, 2, 1)), value),
        "lag": lambda: lab.windowed_products(trace, [value]),
    }
    for field, call in refused.items():
        with pytest.raises(ConfigurationError, match=f"^{field}(=.*: must be | has no default: give )") as told:
            call()
        assert "\n" not in str(told.value)


def test_numbers_and_choices_that_cannot_be_are_refused_by_name():
    for field, call in {
        "forget_bias='1'": lambda: lab.LSTM(2, 3, 1, forget_bias="1"),
        "scales.V=1j": lambda: lab.Scales(V=1j),
        "initializer.gain=array": lambda: lab.Gaussian(np.ones(3)),
        "scheme.cuts='publishd'": lambda: Random(5, cuts="publishd"),
        "measure.log_scale=1": lambda: lab.run({"measure": {"log_scale": np.int64(1)}}),
        "gain='2'": lambda: lab.theory.mean_field("2"),
        "memory_limit='2'": lambda: lab.run({}, memory_limit="2"),
        "seed=18446744073709551615: must be an integer >= 0, of 64 bits": lambda: (
            Configuration.parse({"seed": np.uint64(2**64 - 1)}).run_id
        ),
        r"seed=1e\+17 .a float above 2.53 may be a rounded integer; write all digits": lambda: lab.run({"seed": 1e17}),
        "configuration='seed'": lambda: lab.run("seed"),
        "workers=1.5": lambda: Options("x", workers=1.5),
    }.items():
        with pytest.raises(ConfigurationError, match=field):
            call()
    assert Options("x", workers=np.int64(2), time_limit=np.float64(3)).workers == 2


def test_values_become_those_of_python_whatever_they_are_in():
    found = python_value({np.str_("a"): [np.float64(1), (np.int8(2), np.array("b"))], "c": np.longdouble(0.5)})
    assert repr(found) == repr({"a": [1.0, (2, "b")], "c": 0.5})
    assert check_integer("x", 1e15) == 10**15


# ------------------------------------------------------------------ sweeps, and the choices of conf/


def test_sweeps_take_numpy_values_in_both_forms():
    runs = lab.grid({"cell.hidden_size": np.array([4, 5], np.uint8)}, seed=np.arange(2), dtype=np.array("float32"))
    expected = lab.grid({"cell.hidden_size": [4, 5]}, seed=[0, 1], dtype="float32")
    assert json.dumps(runs) == json.dumps(expected)
    assert Configuration.parse({"seed": np.arange(2)[1]}).run_id == Configuration.parse({"seed": 1}).run_id
    with pytest.raises(ConfigurationError, match="seed: asks for 1000001 runs"):
        lab.grid(seed=range(10**12))


def test_whole_numbers_on_the_command_line_may_have_an_exponent():
    _, (run,) = separate(composer().expand(["sequence_length=1e2", "cell.hidden_size=8.0", "study=x"]))
    plain = Configuration.parse(run).plain
    assert (plain["sequence_length"], plain["cell"]["hidden_size"]) == (100, 8)
    assert type(plain["sequence_length"]) is int


TRAINED = {"training": "standard"}
NEEDS_MORE = {"from_file", "file", "none", "rflo"}  # a file, or another cell


@pytest.mark.parametrize("group", [group for group in GROUPS if group != "scales"])
def test_choice_of_conf_is_the_same_in_python(group):
    lines = composer()
    usable = sorted(set(choices_of_group(group)) - NEEDS_MORE)
    own_names = [choice for choice in usable if fields_of_choice(group, choice).get("name") != choice]  # no class's
    for choice in {*own_names, *usable[:2]}:
        more = {"sequence_length": 64, "truncation": 4} | (TRAINED if group in TRAINING_GROUPS[1:] else {})
        words = [f"{name}={value}" for name, value in more.items()]
        _, (run,) = separate(lines.expand([f"{group}={choice}", *words, "study=x"]))
        assert Configuration.parse({group: choice, **more}).run_id == Configuration.parse(run).run_id


def test_a_named_choice_takes_fields_beside_it():
    (run,) = lab.grid({"measure": "spectra", "measure.windows": 4, "cell": "gru", "cell.reset": "before"})
    parsed = Configuration.parse(run)
    measure = parsed.plain["measure"]
    assert (measure["windows"], measure["exponents"], parsed.cell.reset) == (4, "all", "before")
    assert parsed.cell.hidden_size == 32


@pytest.mark.parametrize(
    ("plain", "said"),
    [
        ({"measure": "spectr"}, "measure='spectr': must be a mapping of fields, or one of .*Did you mean 'spectra'"),
        ({"scales": "large"}, "scales='large': must be a mapping of fields"),
        ({"cell": "gruu"}, "Did you mean 'gru'"),
        ({"cell": np.array(["gru", "lstm"])}, "cell=array.* must be a mapping of fields, or a name"),
    ],
)
def test_a_name_that_there_is_not_is_refused(plain, said):
    with pytest.raises(ConfigurationError, match=said):
        lab.run(plain)


HUGE = 10**5000
"""Python refuses to write it: ValueError, beyond 4,300 digits."""


@pytest.mark.parametrize(
    ("call", "told"),
    [
        (lambda: lab.run({"seed": HUGE}), "seed=.* must be an integer >= 0, of 64 bits"),
        (lambda: lab.run({"seed": [HUGE]}), "seed=.* must be an integer >= 0"),
        (lambda: lab.run({"spectral_radius": -HUGE}), "spectral_radius=.* must be a finite number >= 0"),
        (lambda: lab.run({"truncation": HUGE}), "truncation=.* must be an integer >= 1 or 'full', of 64 bits"),
        (lambda: lab.run({HUGE: 1}), "there is no such field"),
        (lambda: lab.Elman(2, HUGE, 1), "hidden_size=.* must be an integer >= 1"),
        (lambda: lab.theory.mean_field(HUGE), "gain=.* must be"),
        (lambda: lab.sweep(study=HUGE, seed=1), "study=.* must be a string"),
        (lambda: lab.sweep(study="x", seed=1, max_runs=HUGE), "max_runs=.* must be an integer"),
        (lambda: lab.sweep(study="x", seed=1, time_limit=HUGE), "time_limit=.* must be a finite number > 0"),
        (
            lambda: lab.sweep(study="x", seed=range(3_000_000)),
            "asks for 1000001 runs; .* at most 1000000",
        ),
        (lambda: lab.load(HUGE), "study = .* must be a name of at most 100 letters"),
        (lambda: lab.Stacked(2, 3, 1, layers=10**8), "layers=100000000: must be an integer >= 1 and <= 1000"),
    ],
)
def test_integers_without_end_are_refused_in_one_line(call, told):
    with pytest.raises(ConfigurationError, match=told) as caught:
        call()
    assert "\n" not in str(caught.value)
