"""What a PyTorch module must be to be measured step by step, each refusal in a line that says what to do."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from bpttlab.errors import ConfigurationError, LabWarning
from bpttlab.networks.adapters.torch_rows import TorchRows, quiet_vmap
from bpttlab.networks.adapters.trials import (
    advise_arguments,
    advise_sizes,
    attempt,
    divide_parameters,
    warn_cut_path,
)
from bpttlab.numerics.agreement import agreement
from bpttlab.numerics.array import Array

ROWS = 3
"""Rows of a trial."""

ALLOWED = 1000.0
"""How many times the agreement of two exact ways a row may differ from what it is beside others."""


def import_torch(called: str) -> Any:
    """PyTorch, or the error that names the extra."""
    try:
        import torch
    except ImportError as error:
        raise ConfigurationError(f"{called}: needs PyTorch: pip install 'bpttlab[torch]'") from error
    return torch


# ---------------------------------------------------------------------------------------------------- modules


def refuse_module(module: Any, has_step: bool) -> None:
    """Refuses what is no module, reads whole sequences, or draws or learns while it is called."""
    nn = import_torch("lab.from_torch").nn
    if not isinstance(module, nn.Module):
        raise ConfigurationError(
            f"module={type(module).__name__}: must be a torch.nn.Module, for example nn.LSTMCell(8, 32)"
        )
    if not has_step:
        refuse_whole_sequences(module, nn)
    for name, part in module.named_modules():
        called, kind = name or "module", type(part).__name__
        if not part.training:
            continue
        if ("Dropout" in kind and getattr(part, "p", 1.0) > 0) or kind == "RReLU":
            raise ConfigurationError(f"{called}: {kind} in train mode draws at every step: call module.eval() first")
        if "BatchNorm" in kind:
            raise ConfigurationError(
                f"{called}: {kind} in train mode mixes the sequences of a batch: call module.eval() first"
            )


def refuse_whole_sequences(module: Any, nn: Any) -> None:
    """Refuses modules whose call is more than one step."""
    kind = type(module).__name__
    if isinstance(module, nn.RNNBase):
        raise ConfigurationError(
            f"module=nn.{kind}: reads a whole sequence, and must compute one step: save its state_dict and use "
            f"lab.from_file, or give nn.{kind}Cell"
        )
    whole = nn.Transformer, nn.TransformerEncoder, nn.TransformerEncoderLayer, nn.TransformerDecoder
    if isinstance(module, (*whole, nn.TransformerDecoderLayer, nn.MultiheadAttention)):
        raise ConfigurationError(
            f"module=nn.{kind}: reads a whole sequence, and must compute one step from a state of fixed size"
        )


# ---------------------------------------------------------------------------------------------------- steps


def check_rows(rows: TorchRows, input_size: int, dtype: str) -> None:
    """Tries the step and the readout on random rows.

    Sets `one_by_one` where the step cannot be computed for many rows, and the parameters that step and readout have.

    Raises:
        ConfigurationError: it raises, draws, keeps a state of its own, changes what it is given, mixes rows, or returns
            no state.
    """
    rng = np.random.default_rng(0)
    x, h = (
        rng.standard_normal((ROWS, input_size)).astype(dtype),
        rng.standard_normal((ROWS, rows.state_size)).astype(dtype),
    )
    refuse_changing_steps(rows, x, h)
    rows.one_by_one = depends_on_numbers(rows, rows.flat_step, x, h)
    if rows.one_by_one:
        warnings.warn(
            "step: its Python code depends on the numbers of a row (if, while or .item() of a tensor), so that every "
            "row is computed by itself, which is slow: write it with torch.where",
            LabWarning,
            stacklevel=4,
        )
    else:
        refuse_mixed_rows("step", lambda part: rows.step({}, x[part], h[part]), dtype)
    if rows.read_function is not None:
        rows.output_size = attempt("read", lambda: rows.read({}, h), advise_read).shape[1]
        refuse_mixed_rows("read", lambda part: rows.read({}, h[part]), dtype)
    settle_parameters(rows, x, h)
    warn_cut_path(rows.state_vjp({}, x, h, h[None]))


def advise_dtype(error: Exception) -> str:
    """The end of a message about tensors of two dtypes."""
    if "dtype" not in str(error):
        return ""
    return (
        "; step and read must call their first argument, which is a copy in another dtype, and tensors of the module "
        "must be parameters or buffers (register_buffer)"
    )


def advise_step(error: Exception, input_size: int, state: str) -> str:
    """The end of a message about a step that raises."""
    called = advise_arguments(error, "step(module, x_t, state), by default module(x_t, state)")
    return called or advise_dtype(error) or advise_sizes(error, input_size, state)


def advise_read(error: Exception) -> str:
    """The end of a message about a readout that raises."""
    return advise_arguments(error, "read(module, state)", "argument") or advise_dtype(error)


def refuse_changing_steps(rows: TorchRows, x: Any, h: Any) -> None:
    """Two calls with the same rows: nothing that is given may change, and both return the same."""
    import torch

    advise = partial(advise_step, input_size=x.shape[1], state=rows.layout.describe_sizes())
    with rows.loaded({}, h.dtype, differentiate=False) as (module, _):
        found = []
        for seed in range(2):
            given = {"x_t": torch.tensor(x), "state": torch.tensor(h)}
            watched = {**given, **dict(module.named_parameters()), **dict(module.named_buffers())}
            before = {name: tensor.clone() for name, tensor in watched.items()}
            with torch.random.fork_rng(devices=[]):
                torch.manual_seed(seed)
                found.append(attempt("step", partial(rows.flat_step, module, *given.values()), advise).clone())
            for name, tensor in watched.items():
                if not same(before[name], tensor):
                    refuse_changed(name, name in given)
    if not same(*found):
        raise ConfigurationError(
            "step: two calls with the same x_t and state differ: must not draw (dropout, noise: call module.eval()), "
            "and must not keep a state inside the module"
        )


def refuse_changed(name: str, is_argument: bool) -> None:
    if is_argument:
        raise ConfigurationError(f"step: changes its argument {name} in place: must return a new tensor, as h + … does")
    raise ConfigurationError(
        f"step: changes {name!r} of the module: must be the same function at every step; call module.eval() first"
    )


def same(one: Any, other: Any) -> bool:
    import torch

    return (
        bool(torch.equal(torch.nan_to_num(one), torch.nan_to_num(other)))
        if one.dtype.is_floating_point
        else bool(torch.equal(one, other))
    )


def depends_on_numbers(rows: TorchRows, function: Callable[..., Any], *arrays: Array) -> bool:
    """Whether Python's control flow in a step or a readout depends on numbers: then many rows cannot be one call."""
    import torch

    def row(*given: Any) -> Any:
        return function(module, *(one[None] for one in given))[0]

    with rows.loaded({}, arrays[0].dtype, differentiate=False) as (module, _):
        try:
            with quiet_vmap():
                torch.vmap(row, randomness="different")(*map(torch.tensor, arrays))
        except Exception as error:  # whatever else vmap cannot do, a call with many rows can
            return "data-dependent control flow" in str(error) or ".item()" in str(error)
    return False


def refuse_mixed_rows(called: str, compute: Callable[[Any], Any], dtype: str) -> None:
    """Refuses a function whose rows depend on each other."""
    together = compute(slice(None))
    alone = np.concatenate([compute(slice(row, row + 1)) for row in range(ROWS)])
    largest = np.abs(together).max(initial=0.0)
    if not np.abs(together - alone).max(initial=0.0) <= ALLOWED * agreement(dtype) * largest:
        raise ConfigurationError(
            f"{called}: a sequence depends on the others of its batch: must compute every row by itself (x_t is "
            "(B, I), and the first axis of every tensor of the state is B)"
        )


def settle_parameters(rows: TorchRows, x: Any, h: Any) -> None:
    """Which parameters the step depends on, and which the readout."""
    import torch

    read, read_branches = set[str](), False
    if rows.read_function is not None:
        read_branches = depends_on_numbers(rows, rows.flat_read, h)
    with rows.loaded({}, h.dtype) as (module, parameters):
        refuse_no_derivative(rows, module, x, h)
        used = set[str]()
        for row in [slice(r, r + 1) for r in range(ROWS)] if rows.one_by_one else [slice(None)]:
            used |= names_used(rows.flat_step(module, torch.tensor(x[row]), torch.tensor(h[row])), parameters)
        if rows.read_function is not None:
            read = names_used(rows.flat_read(module, torch.tensor(h)), parameters)
        refuse_foreign_parameters(rows, module, parameters, x, h)
    used, read = divide_parameters(set(rows.values), used, read, rows.one_by_one, read_branches)
    rows.shapes = {name: shape for name, shape in rows.shapes.items() if name in used}
    rows.readout_shapes = {name: rows.values[name].shape for name in rows.values if name in read}


def refuse_no_derivative(rows: TorchRows, module: Any, x: Any, h: Any) -> None:
    """Refuses a step that PyTorch cannot differentiate, although what it returns depends on its state."""
    import torch

    given = [torch.tensor(array).requires_grad_() for array in (x[:1], h[:1])]
    if rows.flat_step(module, *given).requires_grad:
        return
    one, other = (rows.flat_step(module, given[0], torch.tensor(state)) for state in (h[:1], h[1:2]))
    if not same(one, other):
        raise ConfigurationError(
            "step: PyTorch records nothing that it could differentiate: must compute the state without "
            "torch.no_grad(), detach() or NumPy"
        )


def names_used(out: Any, parameters: dict[str, Any]) -> set[str]:
    """The parameters that a tensor depends on."""
    import torch

    if not out.requires_grad or not parameters:
        return set()
    found = torch.autograd.grad(out.sum(), list(parameters.values()), allow_unused=True)
    return {name for name, gradient in zip(parameters, found, strict=True) if gradient is not None}


def refuse_foreign_parameters(rows: TorchRows, module: Any, parameters: dict[str, Any], x: Any, h: Any) -> None:
    """Refuses a step that uses another module than its argument, of which the network has a copy."""
    import torch

    for parameter in parameters.values():
        parameter.requires_grad_(False)
    foreign = {"step": rows.flat_step(module, torch.tensor(x[:1]), torch.tensor(h[:1])).requires_grad}
    if rows.read_function is not None:
        foreign["read"] = rows.flat_read(module, torch.tensor(h[:1])).requires_grad
    for parameter in parameters.values():
        parameter.requires_grad_()
    for called in (called for called, is_foreign in foreign.items() if is_foreign):
        example = "x_t, state: m.cell(x_t, state)" if called == "step" else "state: m.head(state)"
        raise ConfigurationError(
            f"{called}: uses parameters that are not those of its first argument: must call that (m), as in "
            f"{called}=lambda m, {example}"
        )
