"""What a run is: typed, normalised, and refused by name."""

from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bpttlab.errors import ConfigurationError
from bpttlab.plugins import use
from bpttlab.store import identity
from bpttlab.sweeps.configuration import Configuration
from bpttlab.tasks import Task
from bpttlab.truncation.segmented import Chunked, Full, PerLoss, Windowed

parse = Configuration.parse


@st.composite
def plains(draw):
    """Plain mappings that are valid."""
    K = draw(st.sampled_from(["full", 1, 5, 40]))
    return {
        "seed": draw(st.integers(0, 2**40)),
        "spectral_radius": draw(st.sampled_from([None, 0, 1, 0.5, 1.1])),
        "sequence_length": draw(st.integers(8, 60)),
        "truncation": K,
        "dtype": draw(st.sampled_from(["float64", "float32"])),
        "task": draw(
            st.sampled_from(
                [
                    {"name": "noise", "input_size": 3},
                    {"name": "adding"},
                    {"name": "copy", "symbols": 2},
                    {"name": "digits", "by": "row"},
                ]
            )
        ),
        "scheme": draw(st.sampled_from(["full", "per_loss", "chunked", {"name": "windowed", "k1": 1}, "windowed"])),
        "initializer": draw(
            st.sampled_from(
                [
                    "gaussian_radius",
                    "orthogonal",
                    "identity",
                    {"name": "sparse", "density": 1},
                    {"name": "non_normal", "feed_forward": 2},
                ]
            )
        ),
        "scales": {"V": draw(st.sampled_from([0, 1, 0.5]))},
        "measure": {"lags": draw(st.integers(3, 30))},
    }


@given(plains())
def test_normalising_is_idempotent(plain):
    once = parse(plain)
    twice = parse(once.plain)
    assert twice.plain == once.plain
    assert twice.run_id == once.run_id == identity.run_id(once.plain)
    assert (twice.network_id, twice.bundle_key) == (once.network_id, once.bundle_key)
    assert once.canonical == identity.canonical(once.plain)


@given(plains())
def test_ids_are_those_of_plain_mappings(plain):
    found = parse(plain)
    network = {name: found.plain[name] for name in ("seed", "cell", "initializer", "dtype", "readout")}
    network["scales"] = {name: found.plain["scales"][name] for name in ("V", "b", "U")}
    sizes = {"input_size": found.cell.input_size, "output_size": found.cell.output_size}
    assert found.network_id == identity.run_id(network | sizes)
    own = ("scheme", "truncation", *(["sequence_length"] if found.task.prefix_stable else []))
    assert found.bundle_key == identity.run_id({name: found.plain[name] for name in found.plain if name not in own})


def test_cache_of_one_group_does_not_serve_another():
    for field, values in (("lags", (3, True, 3.0)), ("fit_from", (0, 0.0, False))):
        for value in (*values, *values):
            fresh = {"measure": {field: value}}
            if isinstance(value, bool):
                with pytest.raises(ConfigurationError, match=f"measure.{field}={value!r}"):
                    parse(fresh)
            else:
                assert parse(fresh).plain["measure"][field] == value
    long, short = (parse({"sequence_length": T, "measure": {"lag_terms": "all", "row_budget": 100}}) for T in (30, 20))
    assert (long.values.sequence_length, short.values.sequence_length) == (30, 20)
    for _ in range(2):
        with pytest.raises(ConfigurationError, match="row_budget=100"):
            parse({"sequence_length": 50, "measure": {"lag_terms": "all", "row_budget": 100}})


@given(plains(), st.randoms())
def test_the_order_of_keys_is_no_part_of_a_run(plain, random):
    shuffled = list(plain.items())
    random.shuffle(shuffled)
    assert parse(dict(shuffled)).run_id == parse(plain).run_id


def test_one_and_one_point_zero_are_the_same_run():
    assert parse({"spectral_radius": 1}).run_id == parse({"spectral_radius": 1.0}).run_id
    assert parse({"scales": {"V": 2}}).run_id == parse({"scales": {"V": 2.0}}).run_id
    assert parse({"spectral_radius": -0.0}).run_id == parse({"spectral_radius": 0}).run_id


def test_two_ways_to_say_a_spectral_radius_are_one_run():
    orthogonal = {"name": "orthogonal", "scale": 1.3}
    assert (
        parse({"initializer": orthogonal}).run_id == parse({"initializer": "orthogonal", "spectral_radius": 1.3}).run_id
    )


@pytest.mark.parametrize("change", [{"seed": 1}, {"batch_size": 4}, {"measure": {"lags": 9}}, {"reduction": "sum"}])
def test_what_changes_numbers_changes_the_run(change):
    assert parse(change).run_id != parse({}).run_id


def test_full_is_one_run_whatever_the_scheme():
    full = parse({"scheme": "full"})
    assert {parse({"scheme": name}).run_id for name in ("per_loss", "chunked", "windowed")} == {full.run_id}
    assert parse({"scheme": "full", "truncation": 5}).run_id == full.run_id


def test_schemes_are_built_from_group_and_value():
    assert parse({"truncation": 5}).scheme == PerLoss(5)
    assert parse({"truncation": 5, "scheme": "chunked"}).scheme == Chunked(5)
    assert parse({"truncation": 5, "scheme": "windowed"}).scheme == Windowed(2, 5)
    assert parse({"truncation": 5, "scheme": {"name": "windowed", "k1": 3}}).scheme == Windowed(3, 5)
    assert parse({}).scheme == Full()


def test_truncation_network_and_bundle():
    one, other = parse({"truncation": 5}), parse({"truncation": 9, "scheme": "chunked"})
    assert one.bundle_key == other.bundle_key
    assert one.run_id != other.run_id
    louder = parse({"truncation": 5, "sequence_length": 80, "scales": {"x": 2.0}})
    assert louder.bundle_key != one.bundle_key
    assert louder.network_id == one.network_id
    assert parse({"sequence_length": 80}).bundle_key == one.bundle_key
    assert parse({"sequence_length": 80, "task": "adding"}).bundle_key != parse({"task": "adding"}).bundle_key
    assert parse({"seed": 1}).network_id != one.network_id
    assert parse({"spectral_radius": 1.5}).network_id != one.network_id


def test_a_truncation_as_long_as_the_sequence_cuts_nothing():
    assert parse({"truncation": 50}).cuts_nothing
    assert not parse({"truncation": 49}).cuts_nothing
    assert not parse({}).cuts_nothing


@pytest.mark.parametrize(
    ("plain", "message"),
    [
        ({"seed": -1}, "seed=-1: must be an integer >= 0"),
        ({"sed": 1}, "sed: there is no such field.*Did you mean 'seed'"),
        ({"spectral_radius": float("nan")}, "spectral_radius=nan: must be a finite number >= 0"),
        ({"spectral_radius": -1.0}, "spectral_radius=-1.0: must be a finite number >= 0"),
        ({"spectral_radius": "high"}, "spectral_radius='high': must be a finite number >= 0 or null"),
        ({"spectral_radius": True}, "spectral_radius=True: must be a finite number >= 0"),
        ({"truncation": "ful"}, "truncation='ful': must be an integer >= 1 or 'full'. Did you mean 'full'"),
        ({"truncation": 0}, "truncation=0: must be an integer >= 1 or 'full'"),
        ({"dtype": "float46"}, "Did you mean 'float64'"),
        ({"sequence_length": 0}, "sequence_length=0"),
        ({"sequence_length": 10.5}, "sequence_length=10.5: must be an integer"),
        ({"batch_size": 0}, "batch_size=0"),
        ({"cell": {"name": "elmn"}}, "cell='elmn': must be one of .*elman"),
        ({"cell": {"name": "elman", "hiden_size": 3}}, "Did you mean 'hidden_size'"),
        ({"cell": {"name": "elman", "hidden_size": 3, "activation": "tan"}}, "Did you mean 'tanh'"),
        ({"cell": {"name": "elman", "hidden_size": "x"}}, "cell.hidden_size='x': must be an integer"),
        ({"cell": {"name": "elman"}}, "cell.hidden_size: must be given"),
        ({"cell": 3}, "cell=3: must be a mapping"),
        ({"task": {"name": "digits", "by": "pixel"}}, "sequence_length=50.*64"),
        ({"task": {"name": "digits", "by": "row"}, "batch_size": 1798}, "batch_size=1798"),
        ({"task": {"name": "addin"}}, "Did you mean 'adding'"),
        ({"task": {"name": "adding", "x": 1}}, "there are none"),
        ({"measure": {"jacobians": "al"}}, "measure.jacobians='al'"),
        ({"measure": {"fit_from": 1.0}}, "measure.fit_from=1.0"),
        ({"measure": {"max_lag": -1}}, "measure.max_lag=-1"),
        ({"sequence_length": 1000, "measure": {"jacobians": "triangle"}}, "row_budget=100000.*1003000 rows"),
        ({"initializer": "gaussian", "spectral_radius": 1.1}, "initializer 'gaussian' states a gain"),
        ({"initializer": {"name": "orthogonal", "scale": 2.0}, "spectral_radius": 1.1}, "contradicts"),
        ({"scheme": {"name": "windowed", "k1": 9}, "truncation": 5}, "scheme.k1=9"),
        ({"scheme": "chunk"}, "Did you mean 'chunked'"),
        ({"scales": {"V": -1.0}}, "scales.V=-1.0"),
        ({"scales": {"W": 1.0}}, "scales.W: there is no such field"),
    ],
)
def test_bad_input_is_one_line_with_field_value_and_allowed(plain, message):
    with pytest.raises(ConfigurationError, match=message) as error:
        parse(plain)
    assert "\n" not in str(error.value)


def test_rows_are_counted_as_they_come():
    from bpttlab.sweeps.run import run

    for choice, length in (("log", 30), ("all", 10), ("triangle", 9), ("none", 5)):
        configuration = parse(
            {
                "sequence_length": length,
                "measure": {"jacobians": choice, "lags": 7, "lag_terms": "all"},
                "engine": "numpy",
            }
        )
        tables = run(configuration).tables
        counted = configuration.measure.rows(configuration.cell, length, configuration.scheme)
        assert counted.get("jacobians") == (len(tables["jacobians"]["lag"]) if choice != "none" else None)
        assert counted["lag_terms"] == len(tables["lag_terms"]["lag"])


@pytest.mark.parametrize(
    "cell", ["leaky", "gru", "lstm", "minimal_rnn", "antisymmetric", "orthogonal", "diagonal", "stacked"]
)
def test_rows_are_counted_for_every_cell(cell):
    from bpttlab.sweeps.run import run

    spectra = {"exponents": "all", "windows": 3, "singular_lags": 3, "eigenvalue_steps": 2, "sensitivity_steps": 4}
    measure = {"lag_terms": "all", **spectra}
    plain = {"cell": {"name": cell, "hidden_size": 4}, "sequence_length": 9, "measure": measure, "engine": "numpy"}
    configuration = parse(plain)
    records = run(configuration)
    counted = configuration.measure.rows(configuration.cell, 9, configuration.scheme)
    for table, number in counted.items():
        rows = records.tables.get(table, {"none": []})
        assert number == len(next(iter(rows.values()))), table
    assert (records.run.get("asymptote_rate") is None) == (configuration.cell.lipschitz is None)


@pytest.mark.parametrize(
    ("scheme", "said"),
    [
        ({"name": "chunked", "offset": "abc"}, "scheme.offset='abc': must be an integer >= 0"),
        ({"name": "chunked", "offset": -1}, "scheme.offset=-1: must be an integer >= 0"),
        ({"name": "random", "draws": 1}, "scheme.draws=1: must be"),
        ({"name": "windowed", "k1": 0}, "scheme.k1=0: must be"),
    ],
)
def test_fields_of_a_scheme_replaced_by_full_are_checked(scheme, said):
    with pytest.raises(ConfigurationError, match=said):
        parse({"scheme": scheme})
    assert parse({"scheme": scheme["name"]}).scheme == Full()


def test_fields_without_a_group_name_are_of_the_default():
    nested = parse({"cell": {"hidden_size": 6}, "task": {"input_size": 3}, "initializer": {}})
    assert nested == parse({"cell": {"name": "elman", "hidden_size": 6}, "task": {"name": "noise", "input_size": 3}})
    dotted = parse({"cell.hidden_size": 6, "task.input_size": 3})
    assert dotted == nested and dotted.run_id == nested.run_id
    assert parse({"cell.hidden_size": 6, "cell": "gru"}).cell.name == "gru"
    with pytest.raises(ConfigurationError, match="cell.hiden of .elman.: there is no such field"):
        parse({"cell.hiden": 6})


@dataclass(frozen=True)
class Misspelt(Task):
    """A task whose loss has a name that none has."""

    name = "misspelt"
    loss_name = "sqared_error"
    prefix_stable = False
    input_size = output_size = 1
    baseline_loss = 0.0

    def draw(self, rng, batch_size):
        raise AssertionError("nothing is drawn")


@dataclass(frozen=True)
class Silent(Misspelt):
    """A task that asks for no prediction."""

    name = "silent"
    loss_name = "squared_error"
    output_size = 0


def test_task_without_outputs_is_refused_before_a_run():
    with use([Silent]), pytest.raises(ConfigurationError, match="task 'silent': output_size=0: must be >= 1"):
        parse({"task": "silent"})


def test_task_with_unknown_loss_is_refused_before_a_run():
    said = "task 'misspelt': loss_name: .*'sqared_error'.*Did you mean 'squared_error'"
    with use([Misspelt]), pytest.raises(ConfigurationError, match=said):
        parse({"task": "misspelt"})
