"""Step functions of JAX as cells: equal to our own in every measure. Needs `jax`."""

from typing import NamedTuple

import numpy as np
import pytest

import bpttlab as lab
from bpttlab.errors import ConfigurationError, LabError, LabWarning, NonFiniteError
from bpttlab.networks.cells import GRU, LSTM, Elman
from bpttlab.verification.gradient_check import assert_agree, numerical_gradient
from tests.support.adapters import assert_same_measures

jax = pytest.importorskip("jax")
jnp = jax.numpy

OURS = {"V": "cell.V", "W": "cell.W", "b_h": "cell.b_h", "b_n": "cell.b_n", "U": "head.U", "b_y": "head.b_y"}


def elman(p, x, h):
    return jnp.tanh(p["cell"]["V"] @ x + p["cell"]["W"] @ h + p["cell"]["b_h"])


def gru(p, x, h):
    cell, N = p["cell"], len(h)
    of_x, of_h = cell["V"] @ x + cell["b_h"], cell["W"] @ h
    r, z = (jax.nn.sigmoid(of_x[part] + of_h[part]) for part in (slice(0, N), slice(N, 2 * N)))
    n = jnp.tanh(of_x[2 * N :] + r * (of_h[2 * N :] + cell["b_n"]))
    return (1 - z) * n + z * h


def lstm(p, x, state):
    h, c = state
    i, f, g, o = jnp.split(p["cell"]["V"] @ x + p["cell"]["W"] @ h + p["cell"]["b_h"], 4)
    c = jax.nn.sigmoid(f) * c + jax.nn.sigmoid(i) * jnp.tanh(g)
    return jax.nn.sigmoid(o) * jnp.tanh(c), c


def read(p, state):
    h = state[0] if isinstance(state, tuple) else state
    return p["head"]["U"] @ h + p["head"]["b_y"]


KINDS = {"elman": (Elman, elman, 3), "gru": (GRU, gru, 3), "lstm": (LSTM, lstm, (3, 3))}


def both(kind, T=7, B=3):
    """The traces of a JAX network and of our own with the same weights."""
    make, step, state = KINDS[kind]
    own = make(2, 3, 2)
    params = own.init(np.random.default_rng(0), spectral_radius=1.1)
    tree = {
        "cell": {name: params[name] for name in own.shapes()},
        "head": {name: params[name] for name in ("U", "b_y")},
    }
    cell, theirs = lab.from_jax(step, tree, read=read, input_size=2, state=state)
    x = np.random.default_rng(5).standard_normal((T, B, 2))
    return lab.forward(cell, theirs, x), lab.forward(own, params, x)


@pytest.mark.parametrize("kind", ["lstm", pytest.param("gru", marks=pytest.mark.slow)])
def test_gradients_and_products_are_those_of_our_own_cell(kind):
    theirs, ours = both(kind, T=5, B=2)
    np.testing.assert_allclose(theirs.h, ours.h, rtol=0, atol=1e-14)
    errors = np.random.default_rng(1).standard_normal(ours.y_hat.shape)
    for scheme in (None, lab.PerLoss(2)):
        expected = lab.backward(ours, errors, scheme)
        found = lab.backward(theirs, errors, scheme)
        assert_agree(found, {OURS.get(name, name): value for name, value in expected.items()})
    np.testing.assert_allclose(theirs.jacobian(4), ours.jacobian(4), atol=1e-13)


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_every_measure_is_that_of_our_own_cell(kind):
    assert_same_measures(*both(kind), OURS)


class State(NamedTuple):
    fast: object
    slow: object


STATES = {
    "named tuple": (lambda p, x, s: State(jnp.tanh(p * s.slow), s.fast), State(3, 3), ["fast", "slow"]),
    "dict": (lambda p, x, s: {"a": jnp.tanh(p * s["b"]), "b": s["a"]}, {"a": 3, "b": 3}, ["a", "b"]),
    "matrix": (lambda p, x, s: p * s + jnp.outer(x, x), jnp.zeros((2, 2)), ["h"]),
    "a batch of one": (lambda p, x, s: jnp.tanh(p * s + jnp.einsum("bi->b", x)[:, None]), 3, ["h"]),
}


@pytest.mark.parametrize("kind", STATES)
def test_a_state_is_any_pytree(kind):
    step, state, names = STATES[kind]
    cell, params = lab.from_jax(step, 0.5, input_size=2, state=state)
    assert list(cell.parts) == names and params == {"params": np.array(0.5)}
    trace = lab.forward(cell, params, np.ones((3, 2, 2)))
    assert np.isfinite(trace.h).all() and trace.jacobian(2).shape == (2, cell.state_size, cell.state_size)


def test_parameters_that_nothing_depends_on_are_left_out():
    tree = [jnp.ones(3), jnp.ones(3), jnp.arange(3), "text", None]
    cell, params = lab.from_jax(jax.jit(lambda p, x, s: p[0] * s, static_argnums=()), tree[:3], input_size=1, state=3)
    assert list(params) == ["0"] and cell.output_size == 0
    cell, params = lab.from_jax(lambda p, x, s: p[0] * s, tree, lambda p, s: p[1] + s, input_size=1, state=3)
    assert list(params) == ["0", "1"] and list(cell.shapes()) == ["0"]


def test_central_differences_check_a_function():
    theirs, _ = both("elman", T=3, B=1)
    found = lab.backward(theirs, 2 * theirs.y_hat)
    numeric = numerical_gradient(theirs.cell, theirs.params, theirs.x, lambda y: (y**2).sum(), analytic=False)
    assert_agree(found, numeric, 1e-6)


def test_settings_of_jax_stay_as_they_were():
    before = jax.config.jax_enable_x64
    theirs, _ = both("elman", T=2)
    assert theirs.h.dtype == np.float64 and jax.config.jax_enable_x64 == before
    assert jnp.zeros(1).dtype == jnp.ones(1, float).dtype


def test_float32_is_kept_where_it_is_asked_for():
    cell, params = lab.from_jax(
        lambda p, x, s: jnp.tanh(p * s + x), jnp.ones(2), input_size=2, state=2, dtype="float32"
    )
    trace = lab.forward(cell, params, np.ones((3, 1, 2)))
    assert trace.h.dtype == np.float32 and params["params"].dtype == np.float32
    assert trace.in_float64().jacobian(3).dtype == np.float64


def test_control_flow_on_numbers_goes_row_by_row_and_is_said():
    def branch(p, x, s):
        return jnp.tanh(p * s + x) if s.sum() > 0 else 0.5 * p * s - x

    with pytest.warns(LabWarning, match="depends on the numbers of a row") as said:
        cell, params = lab.from_jax(branch, jnp.ones(2) / 3, input_size=2, state=2)
    assert len(said) == 1
    where = lab.from_jax(
        lambda p, x, s: jnp.where(s.sum() > 0, jnp.tanh(p * s + x), 0.5 * p * s - x), jnp.ones(2) / 3, None, 2, 2
    )
    x = np.random.default_rng(0).standard_normal((3, 2, 2))
    one, two = lab.forward(cell, params, x), lab.forward(*where, x)
    np.testing.assert_allclose(one.h, two.h, rtol=1e-13)
    np.testing.assert_allclose(one.jacobian(3), two.jacobian(3), rtol=1e-13)


@pytest.mark.filterwarnings("ignore:step:bpttlab.errors.LabWarning")
def test_parameters_of_a_branch_that_no_trial_takes_count():
    tree = {"a": jnp.array([0.5, 0.2]), "b": jnp.array([0.3, 0.4]), "head": jnp.array([1.0, 2.0])}
    branch = lambda p, x, s: jnp.tanh((p["b"] if x[0] > 4 else p["a"]) * s + x)  # noqa: E731
    read_head = lambda p, s: jax.nn.relu(p["head"] * s)  # noqa: E731  # some of its slopes are zero
    cell, params = lab.from_jax(branch, tree, read_head, 2, 2)
    assert set(cell.shapes()) == {"a", "b"} and set(params) == set(tree)
    trace = lab.forward(cell, params, np.array([[[5.0, 0.1]]]), np.array([[0.5, 0.3]]))
    h, found = trace.h[-1, 0], lab.backward(trace, np.ones((1, 1, 2)))
    np.testing.assert_allclose(found["b"], params["head"] * (1 - h**2) * trace.h[0, 0], rtol=1e-12)
    assert not found["a"].any() and found["b"].all()
    with pytest.raises(ConfigurationError, match="'b': was not used in the trial, and may belong to step or to read"):
        lab.from_jax(branch, tree, lambda p, s: p["head"] * s if s[0] > 9 else s, 2, 2)


def test_a_step_without_a_path_through_its_state_is_said():
    with pytest.warns(LabWarning, match="by the state before it is zero.*stop_gradient") as said:
        lab.from_jax(lambda p, x, s: p * jax.lax.stop_gradient(s) + x, jnp.ones(2), input_size=2, state=2)
    assert len(said) == 1


NOISE = np.random.default_rng(0)


def noise(p, x, s):
    return s + NOISE.standard_normal()


MORE = {"input_size": 2, "state": 2}
REFUSED = {
    "noise": (noise, MORE, "two calls with the same x_t and state differ: must be a pure function"),
    "shape": (lambda p, x, s: s[:1], MORE, r"step: returns \[1\] for the state \[2\]: must return"),
    "structure": (lambda p, x, s: (s, s), MORE, r"step: returns \(\[2\], \[2\]\) for the state \[2\]"),
    "dtype": (lambda p, x, s: s.astype("float32"), MORE, "returns float32 for a state in float64.*dtype='float32'"),
    "numpy": (lambda p, x, s: np.tanh(s), MORE, "functions of jax.numpy, not of NumPy"),
    "no derivative": (
        lambda p, x, s: jax.lax.while_loop(lambda v: v.sum() > 9, lambda v: p * v, s),
        MORE,
        "Reverse-mode",
    ),
    "raises": (lambda p, x, s: s["a"], MORE, "step: raises"),
    "output and state": (lambda p, x, s: (s[:1], p * s), MORE, r"returns .*step\(params, x_t, state\)\[1\]$"),
    "3 inputs": (lambda p, x, s: p * s + x, {**MORE, "input_size": 3}, "input_size=3 and state=2, which must be"),
    "state of 7": (lambda p, x, s: p @ s * s, {**MORE, "state": 7}, "input_size=2 and state=7, which must be"),
    "step of two": (lambda x, s: s, MORE, r"is called as step\(params, x_t, state\)$"),
    "read of one": (lambda p, x, s: p * s, {**MORE, "read": lambda s: s}, r"is called as read\(params, state\)$"),
    "read branches": (lambda p, x, s: p * s, {**MORE, "read": lambda p, s: s if s[0] > 0 else -s}, "with jnp.where"),
    "no input size": (elman, {"state": 2}, "input_size: must be given"),
    "no state": (elman, {"input_size": 2}, r"state: must be given, for example state=32"),
    "empty state": (elman, {"input_size": 2, "state": ()}, r"state=\(\): must have at least one number"),
    "a word": (elman, {"input_size": 2, "state": "h"}, r"state='h': must be sizes or arrays"),
    "no function": ("step", MORE, "step='step': must be a function"),
    "read": (lambda p, x, s: s, {**MORE, "read": lambda p, s: s.sum()}, r"read: returns shape \(\); must return"),
    "shared": (lambda p, x, s: p * s, {**MORE, "read": lambda p, s: p * s}, "'params': is used by step and by read"),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_what_cannot_be_measured_is_refused_in_one_line(kind):
    step, more, message = REFUSED[kind]
    with pytest.raises(ConfigurationError, match=message) as caught:
        lab.from_jax(step, jnp.ones(2), **more)
    assert "\n" not in str(caught.value)


def test_weights_that_are_not_numbers_are_refused():
    with pytest.raises(NonFiniteError, match=r"params: 'a\.0' has a NaN or an infinity"):
        lab.from_jax(elman, {"a": [jnp.array([1.0, np.nan])]}, input_size=2, state=2)
    with pytest.raises(ConfigurationError, match="'a' is complex"):
        lab.from_jax(elman, {"a": jnp.ones(2) * 1j}, input_size=2, state=2)


def test_a_tree_without_arrays_is_said():
    with pytest.raises(ConfigurationError, match="step: raises TypeError.*; params=None: has no array of floats"):
        lab.from_jax(elman, None, input_size=2, state=2)


def test_missing_jax_names_the_extra(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "jax", None)
    with pytest.raises(LabError, match=r"lab\.from_jax: needs JAX: pip install 'bpttlab\[jax\]'"):
        lab.from_jax(elman, {})
