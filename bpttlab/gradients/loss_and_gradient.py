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
from itertools import pairwise
from typing import Any, NamedTuple, get_args

import numpy as np

from bpttlab.errors import LabError
from bpttlab.fields import check_integer
from bpttlab.gradients.backward import backward, cuts_nothing
from bpttlab.gradients.engine import Engine, find_engine
from bpttlab.gradients.forward import cut_inputs, forward
from bpttlab.gradients.plan import HasPlan, Plan
from bpttlab.networks.cells.cell import Cell, Params
from bpttlab.networks.lengths import cut_padding, find_valid
from bpttlab.networks.losses import Reduction, check_targets, evaluate, refuse_no_readout
from bpttlab.numerics.array import Array, detach, detach_all

KNOWN_REDUCTIONS = get_args(Reduction)


class Data(NamedTuple):
    """Sequences, and what the loss of a network on them is made of.

    Attributes:
        x: (T, B, I). target: (T, B, ...). mask: None, (T,) or (T, B). h_0: None or (B, N).
        lengths: (B,); None where there is no padding.
    """

    x: Array
    target: Array
    mask: Array | None
    h_0: Array | None
    lengths: Array | None

    def select(self, part: slice) -> Data:
        """Some sequences, with their padding."""
        mask = self.mask if self.mask is None or np.ndim(self.mask) == 1 else self.mask[:, part]
        h_0 = None if self.h_0 is None else np.asarray(self.h_0)[part]
        lengths = None if self.lengths is None else self.lengths[part]
        return Data(self.x[:, part], self.target[:, part], mask, h_0, lengths)

    def weigh(self, reduction: Reduction) -> float:
        """What a loss of these sequences counts beside that of others: their number, or their weighted valid steps."""
        T, B = np.shape(self.x)[:2]
        mask = np.ones(T) if self.mask is None else np.asarray(self.mask, float)
        if reduction == "sum" or (self.lengths is None and mask.ndim < 2):
            return B
        valid = np.ones((T, B), bool) if self.lengths is None else find_valid(self.lengths, T)
        return float((mask.reshape(T, -1) * valid).sum())


class Setting(NamedTuple):
    """What is computed of the data: `loss_and_gradient`."""

    loops: Engine
    cell: Cell
    params: Params
    loss: str
    reduction: Reduction
    scheme: HasPlan | Plan | None


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
    lengths: Any = None,
) -> tuple[float, Params]:
    """L and dL/dparams.

    Args:
        cell, params, x, h_0, engine, lengths: as in `forward`.
        target: what the loss holds y_hat against, as in `losses.evaluate`.
        mask: (T,), the weight of each step, or (T, B); every step counts as much by default.
        loss, reduction: as in `losses.evaluate`. With lengths a mean is one over all valid steps of the batch.
        scheme: how the gradient is cut, as in `backward`; full by default.
        threads: at most so many, each with its part of the sequences. The gradient is the sum over the parts: its last
            bits depend on the number of threads and of sequences, and on nothing else.

    Returns:
        L, and the gradient keyed like the parameters, with "h_0" besides.

    Raises:
        LabError: whatever `forward`, `losses.evaluate` and `backward` raise.
    """
    if type(threads) is int and threads == 1 and scheme is None and mask is None and lengths is None:
        found = find_at_once(cell, params, x, target, loss, reduction, h_0, engine)
        if found is not None:
            return found
    refuse_no_readout(cell.output_size)
    params, x, h_0, target = detach_all(params), detach(x), detach(h_0), detach(target)
    check_targets(np.shape(x), target, mask)
    data = cut_data(Data(x, target, mask, h_0, lengths))
    parts = divide_sequences(np.shape(x)[1], check_integer("threads", threads, 1))
    setting = Setting(find_engine(engine), cell, params, loss, reduction, scheme)
    if len(parts) > 1:
        try:
            return of_parts(setting, data, parts)
        except LabError:
            pass  # once more in one piece, for an error that names the sequence by its number among all
    return of_sequences(setting, data)


def find_at_once(
    cell: Cell, params: Params, x: Array, target: Array, loss: str, reduction: Reduction, h_0: Array | None, engine: str
) -> tuple[float, Params] | None:
    """The squared error and its full gradient where the engine takes everything as it is; None where not.

    Of a small network a third of the time would be checks that have nothing to say.
    """
    if loss != "squared_error" or engine != "numba" or reduction not in KNOWN_REDUCTIONS or not cell.output_size:
        return None
    return find_engine(engine).loss_and_gradient(cell, params, x, target, None, reduction, h_0)


def cut_data(data: Data) -> Data:
    """Without what stands in padding, in x, in the target and in a mask of each sequence."""
    if data.lengths is None:
        return data
    x, lengths = cut_inputs(data.x, data.lengths, None)
    target, mask = np.asarray(data.target)[: len(x)], data.mask
    mask = mask if mask is None else np.asarray(mask)[: len(x)]
    return Data(x, target if lengths is None else cut_padding(target, lengths), mask, data.h_0, lengths)


def divide_sequences(B: int, threads: int) -> list[slice]:
    """About as many sequences for each thread, and none without any."""
    ends = [B * part // threads for part in range(threads + 1)]
    return [slice(first, last) for first, last in pairwise(ends) if first < last]


def of_parts(setting: Setting, data: Data, parts: Sequence[slice]) -> tuple[float, Params]:
    """The mean over all sequences from the means over the parts, each in a thread."""
    with ThreadPoolExecutor(len(parts)) as pool:
        begun = [pool.submit(copy_context().run, of_sequences, setting, data.select(part)) for part in parts]
        found = [one.result() for one in begun]
    shares = [data.select(part).weigh(setting.reduction) / data.weigh(setting.reduction) for part in parts]
    scaled = [
        {name: value * value.dtype.type(share) for name, value in gradient.items()}
        for share, (_, gradient) in zip(shares, found, strict=True)
    ]
    whole = {name: sum((one[name] for one in scaled[1:]), scaled[0][name]) for name in scaled[0] if name != "h_0"}
    whole["h_0"] = np.concatenate([one["h_0"] for one in scaled])
    return sum(share * value for share, (value, _) in zip(shares, found, strict=True)), whole


def of_sequences(setting: Setting, data: Data) -> tuple[float, Params]:
    """`loss_and_gradient` in one piece, of what was checked."""
    loops, cell, params, loss, reduction, scheme = setting
    if data.lengths is None and loss == "squared_error" and cuts_nothing(scheme, len(data.x)):
        found = loops.loss_and_gradient(cell, params, data.x, data.target, data.mask, reduction, data.h_0)
        if found is not None:
            return found
    trace = forward(cell, params, data.x, data.h_0, loops, lengths=data.lengths)
    counted = np.ones(len(data.x)) if data.mask is None else data.mask
    evaluated = evaluate(loss, trace.y_hat, data.target, counted, reduction, data.lengths)
    return evaluated.value, backward(trace, evaluated, scheme)
