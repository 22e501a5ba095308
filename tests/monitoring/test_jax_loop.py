"""A training loop of JAX: its parameters are a network by convert=."""

import numpy as np
import pytest

import bpttlab as lab
from tests.support.monitoring import load, make_monitor, make_network

jax = pytest.importorskip("jax")
pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("quick_disk")]


def step(params, x_t, h):
    return jax.numpy.tanh(x_t @ params["V"].T + h @ params["W"].T + params["b_h"])


def test_parameters_of_jax_are_measured_while_they_change(tmp_path):
    cell, params = make_network()
    ours = make_monitor(tmp_path, "ours", measures=["lyapunov"])
    theirs = make_monitor(
        tmp_path, "theirs", measures=["lyapunov"], convert=lambda own: lab.from_jax(step, own, input_size=2, state=4)
    )
    for update in range(2):
        changed = {**params, "W": (1 + update) * params["W"]}
        ours(update, (cell, changed))
        theirs(update, {name: jax.numpy.asarray(changed[name]) for name in ("V", "W", "b_h")})
    exponents = [load(tmp_path, name).runs.sort_values("update")["lyapunov_exponent"] for name in ("ours", "theirs")]
    np.testing.assert_allclose(*exponents, rtol=1e-5)  # parameters of JAX are float32
