"""The Python of docs/cells.md runs as it stands, and its list of cells with compiled loops is true."""

import re
from pathlib import Path

import numpy as np

from bpttlab import plugins
from bpttlab.gradients.compiled.forms import SHIPPED_FORMS
from bpttlab.networks.cells import Cell

PAGE = Path(__file__).resolve().parents[2] / "docs" / "cells.md"


def test_the_example_of_a_noisy_cell_runs():
    section = PAGE.read_text(encoding="utf-8").split("\n## Dropout, zoneout and noise\n")[1].split("\n## ")[0]
    (block,) = re.findall(r"```python\n(.*?)```", section, flags=re.DOTALL)
    names = {}
    exec(compile(block, str(PAGE), "exec"), names)
    trace, spectrum = names["trace"], names["spectrum"]
    assert trace.x.shape == (50, 4, 2 + 32 + 32)
    dropped = (trace.x[0, :, trace.cell.columns[1]] < 0).sum(axis=1)  # of each sequence: as many exponents are -inf
    lost = np.isneginf(spectrum["lyapunov_exponent"]).groupby(spectrum["sequence"]).sum()
    assert dropped.any() and lost.tolist() == dropped.tolist()


def test_the_page_lists_the_cells_that_have_compiled_loops():
    section = PAGE.read_text(encoding="utf-8").split("\n## Compiled loops\n")[1]
    listed = re.findall(r"`(\w+)`", section.split("these cells: ")[1].split(".")[0])
    assert sorted(listed) == sorted(cell.name for cell in SHIPPED_FORMS)


def test_the_page_lists_the_cells_with_second_derivatives():
    section = PAGE.read_text(encoding="utf-8").split("\n## Second derivatives\n")[1]
    listed = re.findall(r"`(\w+)`", section.split("Jacobians: ")[1].split(".")[0])
    cells = plugins.find_shipped("cell").items()
    assert listed == [name for name, kind in cells if kind.linearize_vjp is not Cell.linearize_vjp]
