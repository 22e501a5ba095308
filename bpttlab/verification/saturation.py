"""Saturated units: derivatives that cannot be computed from the rounded state, compared with their exact values."""

from __future__ import annotations

from collections.abc import Iterator
from importlib.util import find_spec

import numpy as np

from bpttlab.gradients.backward import backward
from bpttlab.gradients.forward import forward
from bpttlab.gradients.trace import Trace
from bpttlab.networks.cells import Elman
from bpttlab.numerics.array import Array
from bpttlab.sweeps.run import run
from bpttlab.verification.check import Check, checks, equal

LOG_SLOPES = {
    "tanh": lambda a: 2.0 * (np.log(2.0) - abs(a) - np.log1p(np.exp(-2.0 * abs(a)))),
    "logistic": lambda a: -abs(a) - 2.0 * np.log1p(np.exp(-abs(a))),
    "softplus": lambda a: min(a, 0.0) - np.log1p(np.exp(-abs(a))),
}
"""log f'(a), written out here once more."""


_ENGINES = ("numpy", "numba") if find_spec("numba") else ("numpy",)


def one_saturated_unit(activation: str, a: float, engine: str, output: str = "identity") -> Trace:
    """V = W = U = 1, no biases, one step from h_0 = 0 with input a."""
    cell = Elman(1, 1, 1, activation, output)
    params: dict[str, Array] = {
        name: np.full(shape, float(name in "VWU")) for name, shape in cell.parameter_shapes().items()
    }
    return forward(cell, params, np.full((1, 1, 1), a), engine=engine)


@checks("gradients")
def saturated_units(quick: bool) -> Iterator[Check]:
    """log |J| of one unit far into its saturation, and of a saturated readout."""
    for engine in _ENGINES:
        for activation, exact in LOG_SLOPES.items():
            for a in (0.7, -18.0, 20.0, 300.0, -300.0):
                found = np.log(one_saturated_unit(activation, a, engine).jacobian(1).item())
                what = f"log f' of {activation} at a = {a:g}, engine={engine}"
                yield equal(what, "definition", float(exact(a)), found, relative=1e-14, absolute=1e-15)
        for output in ("tanh", "logistic"):
            trace = one_saturated_unit("identity", 30.0, engine, output)
            found = np.log(backward(trace, np.ones((1, 1, 1)))["b_y"].item())
            what = f"log f_y' of {output} at a = 30, engine={engine}"
            yield equal(what, "definition", float(LOG_SLOPES[output](30.0)), found, relative=1e-14)


@checks("theory")
def saturated_exponents(quick: bool) -> Iterator[Check]:
    """The mean of all exponents is the log-determinant, for strongly saturated units too."""
    for strength in (1.0, 10.0, 30.0):
        measured = run(
            {
                "cell": {"name": "elman", "hidden_size": 16},
                "spectral_radius": 1.5,
                "scales": {"V": strength},
                "measure": {"exponents": "all"},
                "sequence_length": 60,
                "seed": 1,
                "engine": "numpy",
            }
        ).run
        what = f"mean exponent of 16 driven tanh units, scales.V = {strength:g}"
        yield equal(what, "identity", measured["determinant_rate"], measured["mean_exponent"], relative=1e-10)
