"""Extreme values of every numeric field: each is refused in one line, or planned, in little time and memory."""

import time
import tracemalloc
import warnings
from contextlib import suppress
from pathlib import Path

import pytest

import bpttlab as lab
from bpttlab.cli import main
from bpttlab.errors import LONGEST_MESSAGE, ConfigurationError, LabError, StoreError
from bpttlab.store.store import studies
from bpttlab.sweeps import cost_estimate, memory_estimate
from bpttlab.sweeps.configuration import GROUPS, Configuration, choices_of_group, fields_of_choice
from bpttlab.sweeps.plan import Options, plan
from bpttlab.sweeps.run import measure_bundle
from tests.support.sweeps import parsed

VALUES = [0, 1, -1, 10**6, 10**9, 2**63 - 1, 1e308, float("nan"), float("inf")]
SECONDS = 2.0
BYTES = 1 << 28
AVAILABLE = 8.0 * (1 << 30)
"""Memory of a machine that is as large on every machine."""


def numeric_fields(group):
    """(choice, field) of every number of a group's choices in conf/; fields of measures are those of a measure."""
    for choice in choices_of_group(group):
        for name, value in fields_of_choice(group, choice).items():
            inside = value.items() if isinstance(value, dict) else [(None, value)]
            for below, one in inside:
                if not isinstance(one, str | bool):
                    yield choice, name if below is None else f"{name}.{below}"


def write(group, choice, field, value):
    """The configuration of a run with this field."""
    fields = dict(fields_of_choice(group, choice))
    name, _, below = field.partition(".")
    fields[name] = {**fields[name], below: value} if below else value
    return {group: fields}


def forecast(configuration, folder):
    """What a dry run does, without measuring."""
    options = Options("x", str(folder), workers=1)
    planned = plan([configuration], options)
    memory_estimate.refuse_too_large(planned, options, AVAILABLE)
    memory_estimate.describe_memory(planned, options, AVAILABLE)
    cost_estimate.expected_rows(planned.to_do)
    cost_estimate.can_be_measured(planned.to_do)


def find_fault(configuration, folder):
    """What is wrong with how a configuration is taken; "" if nothing is."""
    begun = time.process_time()
    tracemalloc.start()
    try:
        forecast(configuration, folder)
    except LabError as error:
        if "\n" in str(error) or len(str(error)) > LONGEST_MESSAGE:
            return f"refused with {str(error)[:200]!r}"
    except Exception as error:
        return f"{type(error).__name__}: {error}"
    finally:
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
    seconds = time.process_time() - begun
    return f"{seconds:.1f} s, {peak >> 20} MiB" if seconds > SECONDS or peak > BYTES else ""


@pytest.mark.parametrize("choices", ["the first", pytest.param("each", marks=pytest.mark.slow)])
@pytest.mark.parametrize("group", GROUPS)
def test_every_extreme_value_of_a_field_is_refused_or_planned(tmp_path, group, choices):
    """Of each field, for the first choice that has it, or for each."""
    first = {field: choice for choice, field in reversed(list(numeric_fields(group)))}
    chosen = numeric_fields(group) if choices == "each" else ((choice, field) for field, choice in first.items())
    cases = [(choice, field, value) for choice, field in chosen for value in VALUES]
    faults = {case: fault for case in cases if (fault := find_fault(write(group, *case), tmp_path))}
    assert not faults


def test_every_extreme_value_of_a_run_is_refused_or_planned(tmp_path):
    names = ["seed", "spectral_radius", "sequence_length", "truncation", "batch_size"]
    cases = [(name, value) for name in names for value in VALUES]
    faults = {case: fault for case in cases if (fault := find_fault(dict([case]), tmp_path))}
    assert not faults


@pytest.mark.parametrize("words", ["task=copy task.alphabet=1000000", "batch_size=100000 sequence_length=9"])
def test_a_dry_run_measures_no_run_that_takes_much_memory(folder, monkeypatch, capsys, words):
    monkeypatch.setattr("bpttlab.cli.sweep.memory_bytes", lambda: 1e15)
    begun = time.process_time()
    assert main(["sweep", "study=x", *words.split(), "--dry-run"]) == 0
    assert "time: not known, because 1 bundle would take too much memory" in capsys.readouterr().out
    assert time.process_time() - begun < SECONDS + 1.0
    assert not Path("results").exists()


@pytest.mark.parametrize(
    "values",
    [{"spectral_radius": 1e308}, {"cell": {"name": "antisymmetric", "hidden_size": 4, "epsilon": 1e308}}],
    ids=["spectral_radius", "epsilon"],
)
def test_numbers_beyond_the_range_of_a_float_warn_nobody(values):
    (run,) = parsed([0], **values)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        (records,) = measure_bundle([run])
    assert records.run["status"] in ("done", "diverged") or "Warning" not in records.run["error"]


# ------------------------------------------------------------------ from Python


LONG = "y" * 10**6


@pytest.mark.parametrize("results", ["y" * 5000, LONG, "y\0z", "\ud800", "a/" * 3000], ids=range(5))
def test_a_folder_that_cannot_be_is_one_line(folder, results):
    with pytest.raises(StoreError, match=r"^(results cannot be used|nothing is stored yet: )") as error:
        lab.load("x", results)
    assert len(str(error.value)) <= LONGEST_MESSAGE
    with suppress(StoreError):
        assert studies(results) == []


@pytest.mark.parametrize(
    "configuration",
    [{LONG: 1}, {f"cell.{LONG}": 1}, {"cell": LONG}, {"task": {"name": "noise", LONG: 1}}, {"seed": LONG}],
    ids=range(5),
)
def test_a_long_name_is_refused_in_a_short_message(configuration):
    with pytest.raises(ConfigurationError) as error:
        Configuration.parse(configuration)
    assert len(str(error.value)) <= LONGEST_MESSAGE


def test_a_cut_message_keeps_its_beginning_and_its_end():
    message = str(StoreError(f"first {LONG} last"))
    assert (message[:6], message[-5:]) == ("first ", " last")
    assert LONGEST_MESSAGE - 10 <= len(message) <= LONGEST_MESSAGE
