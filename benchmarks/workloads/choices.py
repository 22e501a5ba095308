"""The cost of a user's choice: seconds of one run with one setting changed, over those of the unchanged run."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import partial
from typing import Any

from benchmarks.protocol import Call, compared
from benchmarks.rows import Row, Settings
from bpttlab import run
from bpttlab.sweeps.configuration import Configuration

BASE = {"engine": "numpy", "sequence_length": 200, "batch_size": 8, "cell": {"name": "elman", "hidden_size": 64}}
"""By NumPy, for which nothing is compiled when the dtype changes."""
MINIMAL = {
    "jacobians": "log",
    "sequences": 1,
    "lags": 8,
    "bound_lags": 0,
    "lag_terms": "none",
    "truncations": "none",
    "transient_lags": 20,
}
"""conf/measure/minimal.yaml, where it differs from the standard."""

CHANGED: dict[str, Mapping[str, Any]] = {
    "dtype=float32": {"dtype": "float32"},
    "measure=minimal": {"measure": MINIMAL},
    "measure.jacobians=none": {"measure": {"jacobians": "none"}},
    "measure.lag_terms=none": {"measure": {"lag_terms": "none", "truncations": "none"}},
    "measure.lags=8": {"measure": {"lags": 8}},
    "measure.jacobians=all": {"measure": {"jacobians": "all"}},
    "measure.lag_terms=all": {"measure": {"lag_terms": "all"}},
    "measure.sequences=1": {"measure": {"sequences": 1}},
    "measure.sequences=8": {"measure": {"sequences": 8}},
    "batch_size=1": {"batch_size": 1},
    "sequence_length=400": {"sequence_length": 400},
    "cell.hidden_size=128": {"cell": {"name": "elman", "hidden_size": 128}},
}


def rows(settings: Settings) -> Iterator[Row]:
    changed = dict(list(CHANGED.items())[: settings.choose(None, 2)])
    calls: dict[str, Call] = {"unchanged": measured({})}
    calls |= {name: measured(change) for name, change in changed.items()}
    timed = compared(calls, settings.protocol)
    case = "one run, N=64 B=8 T=200"
    yield Row("choices", case, "unchanged", "s", timed.spread("unchanged"))
    for name in changed:
        yield Row("choices", case, name, "of the run unchanged", timed.ratio(name, "unchanged"))


def measured(change: Mapping[str, Any]) -> Call:
    return partial(run, Configuration.parse({**BASE, **change}))
