"""Networks for the compiled loops, and the loops once more without Numba."""

import importlib.util
import re
import sys
from types import SimpleNamespace

import numpy as np
import pytest

from bpttlab.gradients.compiled import (
    arrays,
    diagonal,
    dispatch,
    elementary,
    elman,
    forms,
    gru,
    kinds,
    leaky,
    lstm,
    minimal_rnn,
    own,
    passes,
    products,
    scaled_rows,
    stacked,
    walks,
)
from bpttlab.networks.cells import (
    GRU,
    LSTM,
    Antisymmetric,
    Diagonal,
    Elman,
    Leaky,
    MinimalRNN,
    OrthogonalElman,
    Stacked,
)

needs_numba = pytest.mark.skipif(importlib.util.find_spec("numba") is None, reason="needs numba")
dtypes = pytest.mark.parametrize("dtype", ["float64", pytest.param("float32", marks=pytest.mark.slow)])
"""All loops are compiled once more for float32, which takes a minute."""


QUICK_CELLS = ("elman", "lstm")
"""The cells whose loops are compiled in tests that are not slow."""


def quick_dtypes(engine):
    """What is tested beside `dtypes`: with compiled loops float64 alone."""
    return ("float64",) if engine == "numba" else ("float64", "float32")


MAKES = {
    **{
        f"elman, {name}": (lambda *sizes, name=name: Elman(*sizes, activation=name))
        for name in elementary.COMPILED_ACTIVATIONS
    },
    "orthogonal": OrthogonalElman,
    "lstm": LSTM,
}


OTHER_KINDS = {
    "gru": GRU,
    "gru, reset before": lambda *sizes: GRU(*sizes, reset="before"),
    "leaky": lambda *sizes: Leaky(*sizes, alpha=0.3),
    "leaky, relu": lambda *sizes: Leaky(*sizes, alpha=0.7, activation="relu"),
    "antisymmetric": lambda *sizes: Antisymmetric(*sizes, epsilon=0.2, gamma=0.1),
    "minimal_rnn": MinimalRNN,
    "diagonal": Diagonal,
    "stacked, elman": lambda *sizes: Stacked(*sizes, layers=3),
    "stacked, lstm": lambda *sizes: Stacked(*sizes, of="lstm"),
    "stacked, minimal_rnn": lambda *sizes: Stacked(*sizes, of="minimal_rnn"),
}
"""Cells of more kinds, whose loops take 10 to 20 s to compile: slow tests. Interpreted they are tested always."""


def network(make, seed=0, T=7, B=2, N=3, gain=1.0, dtype="float64", dead=False):
    """A network, its input and its initial state. `dead` switches half of the units off for good, or shuts gates."""
    rng = np.random.default_rng(seed)
    cell = make(2, N, 2)
    params = {name: rng.standard_normal(shape) for name, shape in cell.parameter_shapes().items()}
    for name in params:
        if re.fullmatch(r"W(_\d)?", name):
            params[name] *= gain / np.sqrt(N)
        if dead and re.fullmatch(r"b_h(_\d)?", name):
            params[name][::2] = -30.0
    params = {name: value.astype(dtype) for name, value in params.items()}
    return cell, params, rng.standard_normal((T, B, 2)), rng.standard_normal((B, cell.state_size))


OF_KINDS = (elman, lstm, gru, leaky, minimal_rnn, diagonal)
ALL = (elementary, products, arrays, scaled_rows, kinds, *OF_KINDS, stacked, own, forms, passes, walks, dispatch)
"""The modules of loops, each after those that it imports."""


def interpreted():
    """The modules once more, by name, as they are read where there is no Numba."""
    hidden = {name: sys.modules.get(name) for name in ("numba", *(module.__name__ for module in ALL))}
    sys.modules["numba"] = None
    try:
        for module in ALL:
            sys.modules[module.__name__] = again(module)
        return SimpleNamespace(**{name.rpartition(".")[2]: sys.modules[name] for name in hidden if name != "numba"})
    finally:
        sys.modules.update(hidden)


def again(module):
    """A module under another name, its file executed once more."""
    spec = importlib.util.spec_from_file_location(f"{module.__name__}_interpreted", module.__file__)
    found = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(found)
    return found


INTERPRETED = interpreted()
