"""Builders for tests of the benchmarks: a row, a record of rows, and a machine that is described in no time."""

import pytest

from benchmarks import kernels, machine, record
from benchmarks.protocol import Spread
from benchmarks.rows import Row


def row(goal, more, median, what="JAX / numpy"):
    return Row(
        "gradient", "elman float64 N=2 B=1 T=3", what, "×", Spread(median / 2, median, median * 2, 7), goal, more
    )


@pytest.fixture
def silent_mkl(monkeypatch):
    """PyTorch's MKL is asked in a process of its own, which takes seconds."""
    monkeypatch.setattr(kernels, "mkl", lambda: ("2024.0", "Intel(R) AVX2"))


def recorded(rows):
    found = record.Record(machine.described())
    for name in dict.fromkeys(one.workload for one in rows):
        own = [one for one in rows if one.workload == name]
        found.replace(name, machine.circumstances() | {"seconds": 1.0}, own)
    return found
