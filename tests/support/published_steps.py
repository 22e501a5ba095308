"""The step of cells as their sources print it, once for numbers of mpmath and once for tensors of PyTorch.

Each function takes the operations, the parameters, x_t and the state, one sequence, as vectors. It shares no code with
the cells.
"""

from __future__ import annotations

from types import SimpleNamespace

import mpmath
import numpy as np


def by_mpmath():
    """The operations on NumPy's arrays of mpmath's numbers."""
    each = {name: np.vectorize(getattr(mpmath, name), otypes=[object]) for name in ("tanh", "exp", "log", "sqrt")}
    sigmoid = np.vectorize(lambda a: 1 / (1 + mpmath.exp(-a)), otypes=[object])
    largest = np.vectorize(max, otypes=[object])
    return SimpleNamespace(
        **each, sigmoid=sigmoid, max=largest, join=np.concatenate, outer=np.outer, eye=np.eye, number=float
    )


def by_torch():
    """The operations on tensors."""
    import torch

    def eye(size):
        return torch.eye(size, dtype=torch.float64)

    return SimpleNamespace(
        tanh=torch.tanh, exp=torch.exp, log=torch.log, sqrt=torch.sqrt, sigmoid=torch.sigmoid, max=torch.maximum,
        join=torch.cat, outer=torch.outer, eye=eye, number=lambda one: float(one.detach()),
    )  # fmt: skip


def parts(vector, count):
    size = len(vector) // count
    return [vector[part * size : (part + 1) * size] for part in range(count)]


def peephole_lstm(cell, ops, p, x, s):
    h, c = parts(s, 2)
    i, f, g, o = parts(p["V"] @ x + p["W"] @ h + p["b_h"], 4)
    p_i, p_f, p_o = parts(p["p"], 3)
    new = ops.sigmoid(f + p_f * c) * c + ops.sigmoid(i + p_i * c) * ops.tanh(g)
    return ops.join([ops.sigmoid(o + p_o * new) * ops.tanh(new), new])


def projected_lstm(cell, ops, p, x, s):
    """nn.LSTM's documentation, with proj_size."""
    h, c = s[: cell.hidden_size], s[cell.hidden_size :]
    i, f, g, o = parts(p["V"] @ x + p["W"] @ h + p["b_h"], 4)
    new = ops.sigmoid(f) * c + ops.sigmoid(i) * ops.tanh(g)
    return ops.join([p["W_r"] @ (ops.sigmoid(o) * ops.tanh(new)), new])


def min_gru(cell, ops, p, x, h):
    z, candidate = parts(p["V"] @ x + p["b_h"], 2)
    z = ops.sigmoid(z)
    return (1 - z) * h + z * candidate


def min_lstm(cell, ops, p, x, h):
    f, i, candidate = parts(p["V"] @ x + p["b_h"], 3)
    f, i = ops.sigmoid(f), ops.sigmoid(i)
    return f / (f + i) * h + i / (f + i) * candidate


def dilated(cell, ops, p, x, s):
    N = cell.hidden_size
    return ops.join([ops.tanh(p["V"] @ x + p["W"] @ s[len(s) - N :] + p["b_h"]), s[: len(s) - N]])


def cornn(cell, ops, p, x, s):
    y, z = parts(s, 2)
    drive = ops.tanh(p["W"] @ y + p["W_z"] @ z + p["V"] @ x + p["b_h"]) - cell.gamma * y
    if cell.damping == "explicit":
        z = z + cell.dt * (drive - cell.epsilon * z)
    else:
        z = (z + cell.dt * drive) / (1 + cell.dt * cell.epsilon)
    return ops.join([y + cell.dt * z, z])


def lipschitz_rnn(cell, ops, p, x, h):
    def mixed(M):
        return (1 - cell.beta) * (M + M.T) + cell.beta * (M - M.T) - cell.gamma * ops.eye(len(h))

    return h + cell.epsilon * (mixed(p["W_A"]) @ h + ops.tanh(mixed(p["W"]) @ h + p["V"] @ x + p["b_h"]))


def norm(ops, a, epsilon):
    return (a - a.mean()) / ops.sqrt(((a - a.mean()) ** 2).mean() + epsilon)


def layer_norm_elman(cell, ops, p, x, h):
    return ops.tanh(p["g"] * norm(ops, p["V"] @ x + p["W"] @ h, cell.epsilon) + p["b_h"])


def layer_norm_lstm(cell, ops, p, x, s):
    h, c = parts(s, 2)
    a = p["g_h"] * norm(ops, p["W"] @ h, cell.epsilon) + p["g_x"] * norm(ops, p["V"] @ x, cell.epsilon) + p["b_h"]
    i, f, g, o = parts(a, 4)
    c = ops.sigmoid(f) * c + ops.sigmoid(i) * ops.tanh(g)
    return ops.join([ops.sigmoid(o) * ops.tanh(p["g_c"] * norm(ops, c, cell.epsilon) + p["b_c"]), c])


def layer_norm_gru(cell, ops, p, x, h):
    gates = 2 * len(h)

    def both(a):
        return ops.join([norm(ops, a[:gates], cell.epsilon), norm(ops, a[gates:], cell.epsilon)])

    v, w = p["g_x"] * both(p["V"] @ x) + p["b_h"], p["g_h"] * both(p["W"] @ h)
    reset, update = parts(ops.sigmoid(v[:gates] + w[:gates]), 2)
    return update * h + (1 - update) * ops.tanh(v[gates:] + reset * (w[gates:] + p["b_n"]))


def slstm(cell, ops, p, x, s):
    """Without the stabiliser: c and n in their own size, and only then the factor exp(-m) taken out."""
    h, c, n, m = parts(s, 4)
    i, f, g, o = parts(p["V"] @ x + p["W"] @ h + p["b_h"], 4)
    log_f = ops.log(ops.sigmoid(f)) if cell.forget_gate == "logistic" else f
    whole_c = ops.exp(log_f + m) * c + ops.exp(i) * ops.tanh(g)
    whole_n = ops.exp(log_f + m) * n + ops.exp(i)
    m = ops.max(log_f + m, i)
    return ops.join([ops.sigmoid(o) * whole_c / whole_n, whole_c * ops.exp(-m), whole_n * ops.exp(-m), m])


def selective_diagonal(cell, ops, p, x, state):
    N, S = cell.hidden_size, cell.channel_states
    u = p["V"] @ x + p["b_h"]
    delta = ops.log(1 + ops.exp(p["V_d"] @ u + p["b_d"]))
    B, C, A = p["V_B"] @ u, p["V_C"] @ u, -ops.exp(p["log_A"])
    s = ops.exp(delta * A) * state[N:].reshape(S, N) + ops.outer(B, delta * u)
    return ops.join([C @ s + p["D"] * u, s.reshape(S * N)])


def scornn(cell, ops, p, x, h):
    return ops.tanh(p["V"] @ x + p["W"] @ h + p["b_h"])


def clockwork(cell, ops, p, x, s):
    h, phase = parts(s, 2)
    units, N = [], cell.hidden_size
    module = [n * cell.modules // N for n in range(N)]
    counts = [(round(ops.number(phase[n])) + 1) % 2 ** module[n] for n in range(N)]
    for n in range(N):
        heard = [m for m in range(N) if module[m] >= module[n]]
        moved = ops.tanh(p["V"][n : n + 1] @ x + p["W"][n : n + 1][:, heard] @ h[heard] + p["b_h"][n : n + 1])
        units.append(moved if counts[n] == 0 else h[n : n + 1])
    return ops.join([*units, *(0 * h[n : n + 1] + counts[n] for n in range(N))])


PUBLISHED = (
    peephole_lstm, projected_lstm, min_gru, min_lstm, dilated, cornn, lipschitz_rnn, layer_norm_elman, layer_norm_lstm,
    layer_norm_gru, slstm, selective_diagonal, scornn, clockwork,
)  # fmt: skip
STEPS = {function.__name__: function for function in PUBLISHED}
"""By the name of the cell."""
