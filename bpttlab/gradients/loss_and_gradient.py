"""The loss of a network on some sequences and its gradient, in one call: `forward`, `losses.evaluate` and `backward`.

Use it if you need nothing else of the trajectory. With `engine="numba"` and a squared error there is almost no Python
between the compiled parts; in a small network this would be half of the time.

With `threads` the sequences are divided among threads, which compiled loops keep busy at once: they release Python's
lock. That pays where the products with W take nearly all of the time, from N = 512 on.

Index legend: T time, B sequence, I input, O output.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from functools import partial
from itertools import pairwise

import numpy as np

from bpttlab.errors import LabError
from bpttlab.fields import check_integer
from bpttlab.gradients.backward import backward, cuts_nothing
from bpttlab.gradients.engine import Engine, find_engine
from bpttlab.gradients.plan import HasPlan, Plan
from bpttlab.networks.cells.cell import Cell, Params
from bpttlab.networks.losses import Reduction, check_targets, evaluate, refuse_no_readout
from bpttlab.numerics.array import Array


def loss_and_gradient(
    cell: Cell,
    params: Params,
    x: Array,
    target: Array,
    mask: Array | None = None,
    loss: str = "squared_error",
    reduction: Reduction = "mean",
    h_0: Array | None = None,
    scheme: HasPlan | Plan | None = None,
    engine: str = "numpy",
    threads: int = 1,
) -> tuple[float, Params]:
    """L and dL/dparams.

    Args:
        cell, params, x, h_0, engine: as in `forward`.
        target: what the loss holds y_hat against, as in `losses.evaluate`.
        mask: (T,), the weight of each step; every step counts as much by default.
        loss, reduction: as in `losses.evaluate`.
        scheme: how the gradient is cut, as in `backward`; full by default.
        threads: at most so many, each with its part of the sequences. The gradient is the sum over the parts: its last
            bits depend on the number of threads and of sequences, and on nothing else.

    Returns:
        L, and the gradient keyed like the parameters, with "h_0" besides.

    Raises:
        LabError: whatever `forward`, `losses.evaluate` and `backward` raise.
    """
    refuse_no_readout(cell.output_size)
    check_targets(np.shape(x), target, mask)
    parts = divide_sequences(np.shape(x)[1], check_integer("threads", threads, 1))
    alone = partial(
        of_sequences, find_engine(engine), cell, params, mask=mask, loss=loss, reduction=reduction, scheme=scheme
    )
    if len(parts) > 1:
        try:
            return of_parts(alone, x, target, h_0, parts)
        except LabError:
            pass  # once more in one piece, for an error that names the sequence by its number among all
    return alone(x, target, h_0)


def divide_sequences(B: int, threads: int) -> list[slice]:
    """About as many sequences for each thread, and none without any."""
    ends = [B * part // threads for part in range(threads + 1)]
    return [slice(first, last) for first, last in pairwise(ends) if first < last]


def of_parts(
    alone: partial[tuple[float, Params]], x: Array, target: Array, h_0: Array | None, parts: Sequence[slice]
) -> tuple[float, Params]:
    """The mean over all sequences from the means over the parts, each in a thread."""
    with ThreadPoolExecutor(len(parts)) as pool:
        begun = [
            pool.submit(
                copy_context().run, alone, x[:, part], target[:, part], h_0 if h_0 is None else np.asarray(h_0)[part]
            )
            for part in parts
        ]
        found = [one.result() for one in begun]
    shares = [(part.stop - part.start) / np.shape(x)[1] for part in parts]
    scaled = [
        {name: value * value.dtype.type(share) for name, value in gradient.items()}
        for share, (_, gradient) in zip(shares, found, strict=True)
    ]
    whole = {name: sum((one[name] for one in scaled[1:]), scaled[0][name]) for name in scaled[0] if name != "h_0"}
    whole["h_0"] = np.concatenate([one["h_0"] for one in scaled])
    return sum(share * value for share, (value, _) in zip(shares, found, strict=True)), whole


def of_sequences(
    loops: Engine, cell: Cell, params: Params, x: Array, target: Array, h_0: Array | None, mask: Array | None,
    loss: str, reduction: Reduction, scheme: HasPlan | Plan | None,
) -> tuple[float, Params]:  # fmt: skip
    """`loss_and_gradient` in one piece, of what was checked."""
    if loss == "squared_error" and cuts_nothing(scheme, len(x)):
        found = loops.loss_and_gradient(cell, params, x, target, mask, reduction, h_0)
        if found is not None:
            return found
    trace = loops.forward(cell, params, x, h_0)
    counted = np.ones(len(trace.x)) if mask is None else mask
    evaluated = evaluate(loss, trace.y_hat, target, counted, reduction)
    return evaluated.value, backward(trace, evaluated, scheme)
