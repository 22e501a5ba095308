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
    return SimpleNamespace(**each, sigmoid=sigmoid, max=largest, join=np.concatenate, outer=np.outer, eye=np.eye)


def by_torch():
    """The operations on tensors."""
    import torch

    def eye(size):
        return torch.eye(size, dtype=torch.float64)

    return SimpleNamespace(
        tanh=torch.tanh, exp=torch.exp, log=torch.log, sqrt=torch.sqrt, sigmoid=torch.sigmoid, max=torch.maximum,
        join=torch.cat, outer=torch.outer, eye=eye,
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


STEPS = {function.__name__: function for function in (peephole_lstm, min_gru, min_lstm, dilated, cornn, lipschitz_rnn)}
