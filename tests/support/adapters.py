"""Networks of other libraries beside our own cells: the same weights, data and measures."""

from __future__ import annotations

import numpy as np

import bpttlab as lab
from bpttlab.measures.singular_values import singular_values
from bpttlab.networks import losses
from bpttlab.networks.pretrained import from_file

NAMES = {"V": "cell.weight_ih", "W": "cell.weight_hh", "b_h": "cell.bias_ih", "U": "head.weight", "b_y": "head.bias"}
"""Our names of PyTorch's parameters; the gradient of a sum of two biases is that of each."""

AGREE = 1e-9
"""Between logarithms: the relative error of a norm. Products of a dozen steps lose a digit or two of 1e-12."""

MEASURES = {
    "products": lambda trace, loss: lab.jacobian_products(trace, loss, "all"),
    "products, fast": lambda trace, loss: lab.jacobian_products(trace, method="fast"),
    "lag terms": lambda trace, loss: lab.lag_terms(trace, loss, "all"),
    "truncation curve": lambda trace, loss: lab.truncation_curve(trace, loss, [1, 2, 5]),
    "truncation curve, exact": lambda trace, loss: lab.truncation_curve(trace, loss, [1, 2, 5], method="exact"),
    "exponents": lambda trace, loss: lab.lyapunov_spectrum(trace.cell, trace.params, trace.x),
    "singular values": lambda trace, loss: singular_values(trace, [1, 3]),
    "sensitivity": lambda trace, loss: lab.forward_sensitivity(trace, steps=3),
    "blocks": lambda trace, loss: lab.block_norms(trace, "all"),
    "windows": lambda trace, loss: lab.windowed_products(trace, [2, 4]),
    **{
        f"bias of {scheme.name}": (lambda trace, loss, scheme=scheme: lab.truncation_bias(trace, loss, scheme, rng=0))
        for scheme in (lab.PerLoss(2), lab.Windowed(2, 3), lab.Chunked(3))
    },
}


def assert_same_measures(theirs, ours, names=NAMES, measures=MEASURES):
    """Every number of every measure of two traces under the same errors, parameter by parameter."""
    errors = np.random.default_rng(3).standard_normal(ours.y_hat.shape)
    loss = losses.Loss(0.0, errors)
    for name, measure in measures.items():
        one, other = (measure(trace, loss) for trace in (theirs, ours))
        if "parameter" in other:
            other = other[other["parameter"].isin(names)].assign(parameter=lambda rows: rows["parameter"].map(names))
            keys = ["parameter", *(key for key in ("sequence", "t", "lag", "truncation") if key in other)]
            one = one[one["parameter"].isin(set(other["parameter"]))]
            one, other = (frame.sort_values(keys, kind="stable").reset_index(drop=True) for frame in (one, other))
        assert (list(one) == list(other) and len(one) == len(other) > 0) or name == "blocks", name
        for column in other.select_dtypes("number"):
            np.testing.assert_allclose(one[column], other[column], AGREE, AGREE, err_msg=f"{name}: {column}")


def network_of_file(folder, weights, activation):
    """Our network of weights under PyTorch's names."""
    np.savez(folder / "net.npz", **weights)
    return from_file(folder / "net.npz", activation=activation)
