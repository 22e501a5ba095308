"""What is measured. Each module has `rows(settings)`, which measures and yields one line after another.

`WORKLOADS` is their order, by name. A workload that needs no peer runs where none is installed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from benchmarks.rows import Row, Settings
from benchmarks.workloads import (
    choices,
    dtypes,
    exponents,
    gated,
    gradients,
    growth,
    limits,
    memory,
    other_cells,
    products,
    single_run,
    startup,
    sweeps,
    training,
    truncations,
)

Workload = Callable[[Settings], Iterator[Row]]

WORKLOADS: dict[str, Workload] = {
    "gradient": gradients.rows,
    "gated": gated.rows,
    "other cells": other_cells.rows,
    "products": products.rows,
    "chosen lags": products.chosen_lags,
    "exponents": exponents.rows,
    "truncations": truncations.rows,
    "one run": single_run.rows,
    "sweeps": sweeps.rows,
    "startup": startup.rows,
    "memory": memory.rows,
    "limits": limits.rows,
    "choices": choices.rows,
    "dtype": dtypes.rows,
    "growth": growth.rows,
    "training": training.rows,
}
