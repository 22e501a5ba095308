"""Derivatives of Jacobians: against differences, complex steps, each other and PyTorch's double backward."""

import re

import mpmath
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bpttlab import plugins
from bpttlab.errors import ConfigurationError
from bpttlab.gradients.forward import forward
from bpttlab.gradients.second_derivatives import jacobian_gradient
from bpttlab.networks.activations import ACTIVATIONS, Activation, find_activation
from bpttlab.networks.cells import GRU, LSTM, Elman
from bpttlab.verification.gradient_check import (
    CENTRAL_AGREEMENT,
    COMPLEX_STEP_AGREEMENT,
    agreement,
    assert_agree,
    central_difference,
    complex_step,
    disagreement,
)
from bpttlab.verification.second_derivatives import jacobians_by_complex_step, numerical_jacobian_gradient
from tests.support.compiled import needs_numba
from tests.support.examples import examples
from tests.support.networks_of_cells import CELLS, MORE_CELLS

SERVED = {f"elman, {name}": lambda *sizes, name=name: Elman(*sizes, activation=name) for name in ACTIVATIONS}
SERVED |= {"lstm": LSTM, "gru": GRU, "gru, before": lambda *sizes: GRU(*sizes, reset="before")}

SMOOTH = {name: make for name, make in SERVED.items() if "relu" not in name}
"""Of relu the slopes are read off h_t, which is at the kink where a unit is off."""

every_served_cell = pytest.mark.parametrize("make", SERVED.values(), ids=SERVED)


def network(make, seed, T, B, N, I, dtype="float64", engine="numpy"):
    """A trace with every parameter in use, and a cotangent of every entry of every J_t."""
    rng = np.random.default_rng(seed)
    cell = make(I, N, 1)
    params = {name: rng.standard_normal(shape).astype(dtype) for name, shape in cell.parameter_shapes().items()}
    h_0 = rng.standard_normal((B, cell.state_size)).astype(dtype)
    trace = forward(cell, params, rng.standard_normal((T, B, I)).astype(dtype), h_0, engine)
    return trace, rng.standard_normal((T, B, cell.state_size, cell.state_size)).astype(dtype)


sizes = st.fixed_dictionaries(
    {"seed": st.integers(0, 2**16), "T": st.integers(1, 5), "B": st.integers(1, 3)}
    | {"N": st.integers(1, 3), "I": st.integers(1, 2)}
)


# ------------------------------------------------------------------------------------------ the parts


@every_served_cell
@examples(12)
@given(sizes=sizes)
def test_jacobian_vjp_is_the_complex_step(make, sizes):
    trace, dJ = network(make, **sizes)
    cell, arrays = trace.cell, {"W": trace.params["W"], "linearization": trace.linearization}

    def contracted(changed):
        return (dJ * cell.jacobian({**trace.params, "W": changed["W"]}, changed["linearization"])).sum()

    found, dlinearization = cell.jacobian_vjp(trace.params, trace.linearization, dJ)
    assert found.keys() == {"W"}
    expected = {name: complex_step(contracted, arrays, name) for name in arrays}
    assert_agree({**found, "linearization": dlinearization}, expected, COMPLEX_STEP_AGREEMENT)


@pytest.mark.parametrize("make", SMOOTH.values(), ids=SMOOTH)
@examples(12)
@given(sizes=sizes)
def test_linearize_vjp_is_the_derivative_of_linearize(make, sizes):
    trace, _ = network(make, **sizes)
    cell, d = trace.cell, np.random.default_rng(1).standard_normal(trace.linearization.shape)
    arrays = {name: trace.params[name] for name in cell.recurrent_parameters} | {"h": trace.h}

    def contracted(changed):
        return (d * cell.linearize({**trace.params, **changed}, trace.x, changed["h"])).sum()

    gradients, dh = cell.linearize_vjp(trace.params, trace.x, trace.h, d)
    expected = {name: central_difference(contracted, arrays, name) for name in arrays}
    size = max(np.abs(value).max() for value in expected.values())  # a parameter may have no part in it
    for name, found in {**gradients, "h": dh}.items():
        assert np.abs(found - expected[name]).max() <= CENTRAL_AGREEMENT * max(size, 1.0), name


@pytest.mark.parametrize("name", ACTIVATIONS)
@pytest.mark.parametrize("a", [-300.0, -40.0, -3.0, -1e-9, 0.25, 2.0, 18.0, 40.0, 300.0])
def test_curvatures_keep_their_digits(name, a):
    with mpmath.workdps(400):
        x = mpmath.mpf(a)
        s = 1 / (1 + mpmath.exp(-x))
        exact = {
            "tanh": -2 * mpmath.tanh(x) * mpmath.sech(x) ** 2,
            "logistic": s * (1 - s) * (1 - 2 * s),
            "softplus": s * (1 - s),
        }.get(name, mpmath.mpf(0))
        exact = float(exact)
    found = float(find_activation(name).curvature(np.array([a]))[0])
    assert found == pytest.approx(exact, rel=4e-15, abs=np.finfo(float).tiny)


# ------------------------------------------------------------------------------------------ the whole


@every_served_cell
@examples(9)
@given(sizes=sizes)
def test_jacobian_gradient_is_the_central_difference(make, sizes):
    trace, dJ = network(make, **sizes)
    expected, found = numerical_jacobian_gradient(trace, dJ), jacobian_gradient(trace, dJ)
    assert found.keys() == expected.keys()
    size = max(np.abs(value).max() for value in expected.values())
    for name in found:
        assert np.abs(found[name] - expected[name]).max() <= CENTRAL_AGREEMENT * size, name


@every_served_cell
def test_the_jacobians_of_the_oracle_are_those_of_the_cell(make):
    trace, _ = network(make, seed=2, T=4, B=2, N=3, I=2)
    found = jacobians_by_complex_step(trace.cell, trace.params, trace.x, trace.h[0])
    assert disagreement(np.stack([trace.jacobian(t) for t in range(1, 5)]), found) <= COMPLEX_STEP_AGREEMENT


@every_served_cell
def test_dtypes_agree(make):
    trace, dJ = network(make, seed=3, T=6, B=2, N=3, I=2)
    narrow, dJ_narrow = network(make, seed=3, T=6, B=2, N=3, I=2, dtype="float32")
    assert_narrow_agrees(jacobian_gradient(narrow, dJ_narrow), jacobian_gradient(trace, dJ))


def assert_narrow_agrees(found, expected):
    assert all(value.dtype == np.float32 for value in found.values())
    assert_agree(found, expected, agreement(np.float32))


@needs_numba
def test_compiled_loops_give_the_same():
    trace, dJ = network(Elman, seed=3, T=6, B=2, N=3, I=2, engine="numba")
    assert_agree(jacobian_gradient(trace, dJ), jacobian_gradient(trace.with_engine("numpy"), dJ))


@pytest.mark.slow
@needs_numba
@every_served_cell
def test_compiled_loops_of_every_cell_and_dtype_agree(make):
    trace, dJ = network(make, seed=3, T=6, B=2, N=3, I=2, engine="numba")
    narrow, dJ_narrow = network(make, seed=3, T=6, B=2, N=3, I=2, dtype="float32", engine="numba")
    expected = jacobian_gradient(trace.with_engine("numpy"), dJ)
    assert_agree(jacobian_gradient(trace, dJ), expected)
    assert_narrow_agrees(jacobian_gradient(narrow, dJ_narrow), expected)


def test_padding_contributes_nothing():
    trace, dJ = network(GRU, seed=4, T=6, B=3, N=3, I=2)
    lengths = np.array([6, 2, 4])
    padded = forward(trace.cell, trace.params, trace.x, trace.h[0], lengths=lengths)
    dJ = dJ * (np.arange(6)[:, None] < lengths)[..., None, None]
    found = jacobian_gradient(padded, dJ)
    assert_agree(found, jacobian_gradient(trace, dJ))


def test_a_sum_of_jacobians_of_a_linear_network_has_one_path():
    trace, dJ = network(lambda *sizes: Elman(*sizes, activation="identity"), seed=5, T=4, B=2, N=3, I=2)
    found = jacobian_gradient(trace, dJ)
    np.testing.assert_allclose(found["W"], dJ.sum(axis=(0, 1)), rtol=1e-13)
    assert not found["V"].any() and not found["b_h"].any() and not found["h_0"].any()


# ------------------------------------------------------------------------------------------ what is refused

OTHERS = {name: make for name, make in (CELLS | MORE_CELLS).items() if not make(2, 4, 1).has_second_derivatives}


@pytest.mark.parametrize("make", OTHERS.values(), ids=OTHERS)
def test_other_cells_are_refused_by_name(make):
    cell = make(2, 4, 1)
    message = f"cell={cell.name}: has no second derivatives .* served are elman, gru, lstm$"
    with pytest.raises(ConfigurationError, match=message):
        cell.jacobian_vjp({}, np.zeros(1), np.zeros((1, 1)))
    with pytest.raises(ConfigurationError, match=message):
        cell.linearize_vjp({}, np.zeros(1), np.zeros(1), np.zeros(1))


def test_an_activation_without_curvature_is_refused_by_name():
    steep = Activation("steep", lambda a: 2.0 * a, np.ones_like, np.zeros_like, 2.0)
    with plugins.use(steep):
        trace, dJ = network(lambda *sizes: Elman(*sizes, activation="steep"), seed=6, T=2, B=1, N=2, I=1)
        with pytest.raises(ConfigurationError, match=re.escape("activation='steep': has no second derivative")):
            jacobian_gradient(trace, dJ)


# ------------------------------------------------------------------------------------------ PyTorch


def step_of_pytorch(torch, cell, p, x, s):
    """One step of a cell in PyTorch's operations.  (I,), (N,) -> (N,)"""
    N = cell.hidden_size
    if isinstance(cell, Elman):
        f = {
            "tanh": torch.tanh,
            "relu": torch.relu,
            "logistic": torch.sigmoid,
            "softplus": torch.nn.functional.softplus,
        }
        return f.get(cell.activation, lambda a: a)(p["V"] @ x + p["W"] @ s + p["b_h"])
    z = p["V"] @ x + p["b_h"]
    if isinstance(cell, LSTM):
        i, f, g, o = (z + p["W"] @ s[:N]).split(N)
        c = torch.sigmoid(f) * s[N:] + torch.sigmoid(i) * torch.tanh(g)
        return torch.cat([torch.sigmoid(o) * torch.tanh(c), c])
    gates = torch.sigmoid(z[: 2 * N] + p["W"][: 2 * N] @ s)
    r, u, W_n = gates[:N], gates[N:], p["W"][2 * N :]
    inner = r * (W_n @ s + p["b_n"]) if cell.reset == "after" else W_n @ (r * s)
    return u * s + (1.0 - u) * torch.tanh(z[2 * N :] + inner)


@every_served_cell
def test_jacobian_gradient_is_the_double_backward_of_pytorch(make):
    torch = pytest.importorskip("torch")
    trace, dJ = network(make, seed=7, T=5, B=2, N=3, I=2)
    names = trace.cell.recurrent_parameters
    p = {name: torch.tensor(trace.params[name], requires_grad=True) for name in names}
    h_0 = torch.tensor(trace.h[0].copy(), requires_grad=True)
    total = 0.0
    for b in range(2):
        s = h_0[b]
        for t in range(5):
            x = torch.tensor(trace.x[t, b])
            J = torch.autograd.functional.jacobian(
                lambda s, x=x: step_of_pytorch(torch, trace.cell, p, x, s), s, create_graph=True
            )
            total = total + (torch.tensor(dJ[t, b]) * J).sum()
            s = step_of_pytorch(torch, trace.cell, p, x, s)
    gradients = torch.autograd.grad(total, [*p.values(), h_0], allow_unused=True)
    expected = {
        name: np.zeros(of.shape) if one is None else one.numpy()
        for (name, of), one in zip([*p.items(), ("h_0", h_0)], gradients, strict=True)
    }
    assert_agree(jacobian_gradient(trace, dJ), expected)
