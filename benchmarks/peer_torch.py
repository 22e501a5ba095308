"""PyTorch: `nn.RNN`, `nn.GRU` or `nn.LSTM`, a linear layer, and autograd."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import torch

from benchmarks.problems import Array, Problem
from benchmarks.trainings import LEARNING_RATE, Lesson

torch.set_num_threads(1)
MODULES = {"elman": torch.nn.RNN, "gru": torch.nn.GRU, "lstm": torch.nn.LSTM, "stacked": torch.nn.RNN}
KINDS = tuple(MODULES)
VERSION = str(torch.__version__).partition("+")[0]


def threads() -> int:
    return int(torch.get_num_threads())


def product(left: Array, right: Array) -> Callable[[], Any]:
    """One product of two matrices, into memory that is there already."""
    a, b, out = map(torch.from_numpy, (left, right, np.empty_like(left)))
    return partial(torch.mm, a, b, out=out)


def gradient(problem: Problem) -> Callable[[], dict[str, Array]]:
    """A function that computes the gradient by every parameter, under the names that they have here."""
    recurrent, readout = modules(problem)
    parameters = [*recurrent.parameters(), *readout.parameters()]
    x, target = torch.from_numpy(problem.x), torch.from_numpy(problem.target)

    def once() -> dict[str, Array]:
        for parameter in parameters:
            parameter.grad = None
        h, _ = recurrent(x)
        ((readout(h) - target) ** 2).sum(-1).mean().backward()
        return renamed(problem, recurrent, readout)

    return once


def train(lesson: Lesson) -> Callable[[], dict[str, Array]]:
    """A function that trains with autograd and `torch.optim.Adam`, from the beginning, and returns the losses.

    Of the two biases only the one that a cell has here is moved.
    """
    problem, N = lesson.problem, lesson.problem.shape.N
    recurrent, readout = modules(problem)
    second = recurrent.bias_hh_l0
    second.requires_grad_("b_n" in problem.params)
    parameters = [one for one in (*recurrent.parameters(), *readout.parameters()) if one.requires_grad]
    first = [one.detach().clone() for one in parameters]
    x, target = torch.from_numpy(lesson.x), torch.from_numpy(lesson.target)

    def once() -> dict[str, Array]:
        with torch.no_grad():
            for parameter, value in zip(parameters, first, strict=True):
                parameter.copy_(value)
        optimizer = torch.optim.Adam(parameters, lr=LEARNING_RATE)
        losses = []
        for x_u, target_u in zip(x, target, strict=True):
            optimizer.zero_grad()
            h, _ = recurrent(x_u)
            loss = ((readout(h) - target_u) ** 2).sum(-1).mean()
            loss.backward()
            if second.grad is not None:
                second.grad[: 2 * N] = 0.0
            optimizer.step()
            losses.append(loss.item())
        return {"losses": np.array(losses)}

    return once


def exponents(problem: Problem, start: Array) -> Callable[[], Array]:
    """log |diag R_t| of J_t Q_{t-1} = Q_t R_t at every step of one sequence, from a rotation Q_0.  -> (T,N)

    The loop of `estimate_spectrum_sequentially`, in the code that Heinsen & Kozachkov 2025 (GOOMs) publish and compare
    their parallel scan with; here J_t is not formed, and the states are those of `nn.RNN`.
    """
    recurrent, _ = modules(problem)
    x, W, first = torch.from_numpy(problem.x), torch.from_numpy(problem.params["W"]), torch.from_numpy(start)

    def once() -> Array:
        with torch.no_grad():
            h, _ = recurrent(x)
            Q, logs = first, torch.empty((len(x), len(W)), dtype=W.dtype)
            for slope, of_step in zip(1 - h[:, 0] ** 2, logs, strict=True):
                Q, R = torch.linalg.qr(slope[:, None] * (W @ Q))
                torch.log(torch.abs(torch.diagonal(R)), out=of_step)
        return logs.numpy()

    return once


def modules(problem: Problem) -> tuple[Any, Any]:
    """With the problem's weights. Of PyTorch's two biases the second is zero, but for the candidate of a GRU."""
    params, N = problem.params, problem.shape.N
    dtype = getattr(torch, problem.dtype)
    layers = getattr(problem.cell, "layers", 1)
    recurrent = MODULES[problem.kind](problem.cell.input_size, N, layers).to(dtype)
    readout = torch.nn.Linear(N, problem.cell.output_size).to(dtype)
    with torch.no_grad():
        for layer, end in enumerate(endings(problem)):
            V, W, b_h = (params[f"{name}{end}"] for name in ("V", "W", "b_h"))
            second = np.zeros_like(b_h)
            if "b_n" in params:
                second[2 * N :] = params["b_n"]
            for name, value in {"weight_ih": V, "weight_hh": W, "bias_ih": b_h, "bias_hh": second}.items():
                getattr(recurrent, f"{name}_l{layer}").copy_(torch.from_numpy(value))
        readout.weight.copy_(torch.from_numpy(params["U"]))
        readout.bias.copy_(torch.from_numpy(params["b_y"]))
    return recurrent, readout


def endings(problem: Problem) -> list[str]:
    """What stands behind the names of each layer's parameters."""
    layers = getattr(problem.cell, "layers", 0)
    return [f"_{layer + 1}" for layer in range(layers)] or [""]


def renamed(problem: Problem, recurrent: Any, readout: Any) -> dict[str, Array]:
    own = {"V": "weight_ih", "W": "weight_hh", "b_h": "bias_ih"}
    gradients = {
        f"{name}{end}": getattr(recurrent, f"{theirs}_l{layer}").grad.numpy()
        for layer, end in enumerate(endings(problem))
        for name, theirs in own.items()
    }
    gradients |= {"U": readout.weight.grad.numpy(), "b_y": readout.bias.grad.numpy()}
    if "b_n" in problem.params:
        gradients["b_n"] = recurrent.bias_hh_l0.grad.numpy()[2 * problem.shape.N :]
    return gradients
