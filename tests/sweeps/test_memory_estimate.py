"""The forecast of memory: a run that no machine like this can hold is refused, with the field to lower."""

import math
import tracemalloc
from dataclasses import replace

import pytest

from bpttlab import plugins
from bpttlab.cli import main
from bpttlab.errors import ConfigurationError
from bpttlab.gradients.checkpointing import GIB
from bpttlab.networks.cells import Elman
from bpttlab.sweeps import memory_estimate, scheduler
from bpttlab.sweeps.memory_estimate import describe_memory, need_of, refuse_too_large
from bpttlab.sweeps.plan import Options, plan
from bpttlab.user_environment import memory_bytes
from tests.support.contract import Plain
from tests.support.sweeps import parsed

SHIPPED = [name for name, kind in plugins.available("cell").items() if plugins.is_shipped(kind)]


def planned(tmp_path, workers=2, memory_limit=None, seeds=1, **values):
    options = Options("x", str(tmp_path), workers=workers, memory_limit=memory_limit)
    return plan([{**values, "seed": seed} for seed in range(seeds)], options), options


@pytest.mark.parametrize(
    ("values", "named", "lower"),
    [
        ({"cell.hidden_size": 1_000_000}, "cell.hidden_size=1000000: a run needs at least 14,", "cell.hidden_size"),
        ({"sequence_length": 10**8}, "sequence_length=100000000: a run needs", "sequence_length"),
        ({"batch_size": 10**8, "sequence_length": 60}, "batch_size=100000000, sequence_length=60: a", "batch_size"),
        ({"cell": "lstm", "sequence_length": 10**8}, "sequence_length=100000000: a run needs", "sequence_length"),
    ],
)
def test_a_run_that_cannot_fit_names_the_field_to_lower(tmp_path, values, named, lower):
    with pytest.raises(ConfigurationError) as error:
        refuse_too_large(*planned(tmp_path, **values), 8 * GIB)
    assert str(error.value).startswith(named)
    assert str(error.value).endswith(f"and this process may use 8 GiB: lower {lower}")


def test_what_fits_is_not_refused(tmp_path):
    refuse_too_large(*planned(tmp_path), 8 * GIB)
    refuse_too_large(*planned(tmp_path, **{"cell.hidden_size": 1000, "sequence_length": 1000}), 8 * GIB)
    refuse_too_large(*planned(tmp_path, sequence_length=10**8), math.inf)


def test_a_gradient_alone_fits_with_a_memory_limit(tmp_path):
    values = {"sequence_length": 10**7, "measure": "gradient", "truncation": "full"}
    with pytest.raises(ConfigurationError, match=r"lower sequence_length, or give memory_limit=\d+$"):
        refuse_too_large(*planned(tmp_path, **values), 16 * GIB)
    refuse_too_large(*planned(tmp_path, memory_limit=8.0, **values), 16 * GIB)


def test_the_forecast_names_how_many_workers_fit(tmp_path):
    of_plan = planned(tmp_path, workers=4, seeds=9, sequence_length=100_000)
    need = need_of(of_plan[0].to_do[0], False, math.inf).total
    first, *others = describe_memory(*of_plan, 100 * need)
    assert first.startswith("at least ")
    assert others == []
    _, line = describe_memory(*of_plan, 2.5 * need)
    assert line.startswith("4 workers need ")
    assert line.endswith("give workers=2")


def test_the_estimate_is_about_what_a_trace_takes():
    (one,) = parsed([0], sequence_length=1000, batch_size=8, cell={"name": "elman", "hidden_size": 32})
    states = 1000 * 8 * 32 * 8
    assert 2 * states < need_of(one, False, math.inf).total < 20 * states


@pytest.mark.parametrize("more", [[], ["--dry-run"]])
def test_the_command_refuses_in_one_line(tmp_path, monkeypatch, capsys, more):
    monkeypatch.chdir(tmp_path)
    assert main(["sweep", "study=x", "cell.hidden_size=10000000", *more]) == 2
    assert capsys.readouterr().err.count("\n") == 1
    assert not (tmp_path / "results").exists()


def test_a_sweep_from_python_is_refused_too(tmp_path):
    with pytest.raises(ConfigurationError, match="lower cell"):
        scheduler.sweep([{"cell.hidden_size": 10**7}], "x", tmp_path, workers=0)


def control_group(root, name, text):
    (root / "proc" / "self").mkdir(parents=True, exist_ok=True)
    (root / "proc" / "self" / "cgroup").write_text("4:memory:/a/b\n0::/a\n")
    path = root / "sys" / "fs" / "cgroup" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def test_limits_of_control_groups_count(tmp_path):
    whole = memory_bytes(tmp_path)
    control_group(tmp_path, "a/memory.max", "max\n")
    assert memory_bytes(tmp_path) == whole > 0
    control_group(tmp_path, "memory/a/memory.limit_in_bytes", "2000000\n")
    assert memory_bytes(tmp_path) == 2_000_000
    control_group(tmp_path, "a/memory.max", "1000000\n")
    assert memory_bytes(tmp_path) == 1_000_000


@pytest.mark.parametrize("cell", [*SHIPPED, "own"])
@pytest.mark.parametrize("size", [10**6, 10**9, 2**63 - 1])
def test_the_forecast_is_counted_and_builds_no_network(cell, size):
    run = parsed(range(1))[0]
    kind = Plain if cell == "own" else plugins.find("cell", cell, "cell")
    run = replace(run, cell=kind(2, size, 1))
    tracemalloc.start()
    need = need_of(run, False, math.inf)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert need.total > 8.0 * size and peak < 1e6


@pytest.mark.parametrize("cell", [*SHIPPED, "own"])
def test_sizes_without_the_network_are_those_of_the_network(cell):
    kind = Plain if cell == "own" else plugins.find("cell", cell, "cell")
    large = kind(3, 150, 2)
    counted = memory_estimate.sizes_of(large, math.inf)
    assert counted is not large
    assert counted == tuple(getattr(large, name) for name in counted._fields)


def test_a_small_own_network_is_counted_like_a_shipped_one():
    run = parsed(range(1))[0]
    own, shipped = (need_of(replace(run, cell=kind(2, 8, 1)), False, math.inf) for kind in (Plain, Elman))
    assert (own.weights, own.steps) == (shipped.weights, shipped.steps)
