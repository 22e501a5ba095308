"""JAX: `jit(value_and_grad(scan))`, with V x_t for all t before the scan and the readout after it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks.problems import Array, Problem
from benchmarks.trainings import LEARNING_RATE, Lesson

jax.config.update("jax_enable_x64", True)
VERSION = str(jax.__version__)


def elman(params: Any, h: Any, z_t: Any) -> Any:
    return jnp.tanh(z_t + h @ params["W"].T)


def gru(params: Any, h: Any, z_t: Any) -> Any:
    z_r, z_u, z_n = jnp.split(z_t, 3, axis=-1)
    w_r, w_u, w_n = jnp.split(h @ params["W"].T, 3, axis=-1)
    r, u = jax.nn.sigmoid(z_r + w_r), jax.nn.sigmoid(z_u + w_u)
    return u * h + (1 - u) * jnp.tanh(z_n + r * (w_n + params["b_n"]))


def lstm(params: Any, state: Any, z_t: Any) -> Any:
    h, c = state
    i, f, g, o = jnp.split(z_t + h @ params["W"].T, 4, axis=-1)
    c = jax.nn.sigmoid(f) * c + jax.nn.sigmoid(i) * jnp.tanh(g)
    return jax.nn.sigmoid(o) * jnp.tanh(c), c


def peephole(params: Any, state: Any, z_t: Any) -> Any:
    h, c = state
    (p_i, p_f, p_o), a = jnp.split(params["P"], 3), z_t + h @ params["W"].T
    g, i, f, o = jnp.split(a, 4, axis=-1)
    c_t = jax.nn.sigmoid(f + p_f * c) * c + jax.nn.sigmoid(i + p_i * c) * jnp.tanh(g)
    return jax.nn.sigmoid(o + p_o * c_t) * jnp.tanh(c_t), c_t


STEPS = {"elman": elman, "gru": gru, "lstm": lstm, "peephole": peephole}
KINDS = (*STEPS, "stacked")


def product(left: Array, right: Array) -> Callable[[], Any]:
    """One product of two matrices."""
    a, b = jax.device_put((left, right))
    compiled = jax.jit(jnp.matmul)
    return lambda: jax.block_until_ready(compiled(a, b))


def run_layer(kind: str, params: Any, x: Any) -> Any:
    """All h_t from zero."""
    zero = jnp.zeros((x.shape[1], params["W"].shape[1]), x.dtype)
    pair = kind in ("lstm", "peephole")

    def step(state: Any, z_t: Any) -> tuple[Any, Any]:
        state = STEPS[kind](params, state, z_t)
        return state, state[0] if pair else state

    return jax.lax.scan(step, (zero, zero) if pair else zero, x @ params["V"].T + params["b_h"])[1]


def loss(kind: str, params: Any, x: Any, target: Any) -> Any:
    """Mean over batch and time of the squared error, summed over outputs."""
    if kind == "stacked":
        for layer in (1, 2):
            x = run_layer("elman", {name: params[f"{name}_{layer}"] for name in ("V", "W", "b_h")}, x)
    else:
        x = run_layer(kind, params, x)
    return ((x @ params["U"].T + params["b_y"] - target) ** 2).sum(-1).mean()


def gradient(problem: Problem) -> Callable[[], dict[str, Array]]:
    """A function that computes the gradient by every parameter; its first call compiles."""
    compiled = jax.jit(jax.value_and_grad(lambda params, x, target: loss(problem.kind, params, x, target)))
    params, x, target = jax.device_put((problem.params, problem.x, problem.target))

    def once() -> dict[str, Array]:
        _, gradients = jax.block_until_ready(compiled(params, x, target))
        return {name: np.asarray(values) for name, values in gradients.items()}

    return once


def train(lesson: Lesson) -> Callable[[], dict[str, Array]]:
    """A function that trains with Adam in one compiled scan over updates, and returns the losses."""
    kind, tree = lesson.problem.kind, jax.tree.map

    def update(carry: Any, data: Any) -> tuple[Any, Any]:
        params, m, v, u = carry
        value, g = jax.value_and_grad(lambda params: loss(kind, params, *data))(params)
        m = tree(lambda m, g: 0.9 * m + 0.1 * g, m, g)
        v = tree(lambda v, g: 0.999 * v + 0.001 * g * g, v, g)
        size, scale = LEARNING_RATE / (1 - 0.9**u), jnp.sqrt(1 - 0.999**u)
        params = tree(lambda p, m, v: p - size * m / (jnp.sqrt(v) / scale + 1e-8), params, m, v)
        return (params, m, v, u + 1), value

    def train_all(params: Any, x: Any, target: Any) -> Any:
        zero = tree(jnp.zeros_like, params)
        return jax.lax.scan(update, (params, zero, zero, 1.0), (x, target))[1]

    compiled = jax.jit(train_all)
    given = jax.device_put((lesson.problem.params, lesson.x, lesson.target))
    return lambda: {"losses": np.asarray(jax.block_until_ready(compiled(*given)))}


def exponents(problem: Problem, start: Array) -> Callable[[], Array]:
    """log |diag R_t| of J_t Q_{t-1} = Q_t R_t at every step of one sequence, from a rotation Q_0.  -> (T,N)"""

    def step(carry: Any, z_t: Any, W: Any) -> tuple[Any, Any]:
        h, Q = carry
        h = jnp.tanh(z_t + W @ h)
        Q, R = jnp.linalg.qr((1 - h**2)[:, None] * (W @ Q))
        return (h, Q), jnp.log(jnp.abs(jnp.diagonal(R)))

    def spectrum(params: Any, x: Any, Q: Any) -> Any:
        z = x @ params["V"].T + params["b_h"]
        carry = jnp.zeros(Q.shape[0], Q.dtype), Q
        return jax.lax.scan(lambda carry, z_t: step(carry, z_t, params["W"]), carry, z)[1]

    compiled = jax.jit(spectrum)
    given = jax.device_put((problem.params, problem.x[:, 0], start))
    return lambda: np.asarray(jax.block_until_ready(compiled(*given)))


def log_spectral_norms(jacobians: Array) -> Callable[[], Array]:
    """log ||J_T … J_{T-l+1}||_2 for l = 0..T by a scan of products, rescaled at every step, and an SVD each."""

    def step(carry: Any, J: Any) -> tuple[Any, Any]:
        product, exponent = carry
        product = product @ J
        scale = jnp.abs(product).max()
        product, exponent = product / scale, exponent + jnp.log(scale)
        return (product, exponent), exponent + jnp.log(jnp.linalg.svd(product, compute_uv=False)[0])

    start = (jnp.eye(jacobians.shape[-1], dtype=jacobians.dtype), jnp.zeros((), jacobians.dtype))
    compiled = jax.jit(lambda J: jax.lax.scan(step, start, J, reverse=True)[1])
    given = jax.device_put(jacobians)
    return lambda: np.concatenate([[0.0], np.asarray(jax.block_until_ready(compiled(given)))[::-1]])
