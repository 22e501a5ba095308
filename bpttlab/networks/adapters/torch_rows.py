"""A step of a PyTorch module and its derivatives, on rows.

The module that is called is a copy in the dtype of the rows, whose parameters are views of the arrays that are given.

Index legend: R rows, I input, S state, O output, K cotangents of every row, G groups of rows.
"""

from __future__ import annotations

import copy
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from threading import RLock
from typing import Any

import numpy as np

from bpttlab.errors import ConfigurationError, NonFiniteError
from bpttlab.networks.adapters.layout import Layout, describe_tree, list_leaves
from bpttlab.networks.adapters.row_functions import RowFunctions, Shapes
from bpttlab.networks.adapters.trials import ReadFunction, StepFunction
from bpttlab.networks.cells.cell import Params
from bpttlab.numerics.array import Array

_TURN = RLock()
"""The parameters of a module are exchanged while it is called: one thread at a time."""


class TorchRows(RowFunctions):
    """The functions of a module; see `RowFunctions`.

    Attributes:
        module: a copy of that which was given.
        one_by_one: whether a row is a call of its own, for a step whose Python code depends on numbers.
    """

    def __init__(self, module: Any, step: StepFunction, read: ReadFunction | None, layout: Layout) -> None:
        self.module, self.step_function, self.read_function, self.layout = module, step, read, layout
        self.copies: dict[np.dtype[Any], tuple[Any, dict[str, Any], dict[str, Array]]] = {}
        self.one_by_one = False
        self.values = {name: array.copy() for name, array in parameter_arrays(module).items()}
        self.state_size, self.parts = layout.size, layout.parts
        self.shapes: Shapes = {name: value.shape for name, value in self.values.items()}
        self.readout_shapes: Shapes = {}
        self.output_size = 0

    # ------------------------------------------------------------------ calling the module

    @contextmanager
    def loaded(self, params: Params, dtype: np.dtype[Any], differentiate: bool = True) -> Iterator[tuple[Any, Any]]:
        """The module with these parameters, and its parameters by name, in that dtype."""
        import torch

        with _TURN, one_thread(), torch.inference_mode(False), torch.set_grad_enabled(differentiate):
            if dtype not in self.copies:
                self.copies[dtype] = copy_in_dtype(self.module, dtype)
            module, parameters, given = self.copies[dtype]
            for name, parameter in parameters.items():
                value = params.get(name, self.values[name])
                if given.get(name) is not value:
                    parameter.data = as_tensor(value, dtype)
                    given[name] = value
            yield module, parameters

    def flat_step(self, module: Any, x: Any, h: Any) -> Any:
        """(R,I), (R,S) -> (R,S), tensors."""
        returned = self.step_function(module, x, self.layout.unflatten(h, (len(x),)))
        return flatten_state(self.layout, returned, h)

    def flat_read(self, module: Any, h: Any) -> Any:
        """(R,S) -> (R,O), tensors."""
        assert self.read_function is not None
        y = self.read_function(module, self.layout.unflatten(h, (len(h),)))
        shape = getattr(y, "shape", None)
        if shape is None or len(shape) != 2 or shape[0] != len(h):
            found = f"shape {tuple(shape)}" if shape is not None else f"a {type(y).__name__}"
            raise ConfigurationError(f"read: returns {found}; must return a tensor (B, O), here ({len(h)}, O)")
        refuse_dtype("read", y, h)
        return y

    # ------------------------------------------------------------------ forwards

    def step(self, params: Params, x: Array, h: Array) -> Array:
        if self.one_by_one and len(x) > 1:
            return np.concatenate([self.step(params, x[r : r + 1], h[r : r + 1]) for r in range(len(x))])
        with self.loaded(params, h.dtype, differentiate=False) as (module, _):
            return to_array(self.flat_step(module, as_tensor(x, h.dtype), as_tensor(h, h.dtype)))

    def read(self, params: Params, h: Array) -> Array:
        with self.loaded(params, h.dtype, differentiate=False) as (module, _):
            return to_array(self.flat_read(module, as_tensor(h, h.dtype)))

    # ------------------------------------------------------------------ backwards

    def state_vjp(self, params: Params, x: Array, h: Array, dh: Array) -> Array:
        return self.pull_back(params, x, h, dh, to_state=True)

    def input_vjp(self, params: Params, x: Array, h: Array, dh: Array) -> Array:
        return self.pull_back(params, x, h, dh, to_state=False)

    def pull_back(self, params: Params, x: Array, h: Array, dh: Array, to_state: bool) -> Array:
        """Cotangents of h_{t-1} or of x_t."""
        if self.one_by_one and len(x) > 1:
            each = [slice(r, r + 1) for r in range(len(x))]
            return np.concatenate([self.pull_back(params, x[r], h[r], dh[:, r], to_state) for r in each], axis=1)
        with self.loaded(params, h.dtype) as (module, _):
            x_t, h_t = as_tensor(x, h.dtype), as_tensor(h, h.dtype)
            leaf = (h_t if to_state else x_t).requires_grad_()
            return to_array(pull_rows(self.flat_step(module, x_t, h_t), leaf, as_tensor(dh, h.dtype)))

    def parameter_vjp(self, params: Params, x: Array, h: Array, dh: Array) -> Params:
        if len(x) == 1 and not (self.one_by_one and x.shape[1] > 1):
            return self.one_group(params, x[0], h[0], dh[0])
        if not self.one_by_one:
            try:
                return self.all_groups(params, x, h, dh)
            except RuntimeError:
                pass  # what vmap cannot do is done group by group
        if self.one_by_one and x.shape[1] > 1:
            rows = [self.parameter_vjp(params, x[:, [r]], h[:, [r]], dh[:, [r]]) for r in range(x.shape[1])]
            return {name: np.sum([row[name] for row in rows], axis=0) for name in self.shapes}
        each = [self.one_group(params, x[g], h[g], dh[g]) for g in range(len(x))]
        return {
            name: np.concatenate([one[name] for one in each]) if each else np.zeros((0, *shape), h.dtype)
            for name, shape in self.shapes.items()
        }

    def one_group(self, params: Params, x: Array, h: Array, dh: Array) -> Params:
        """(R,I), (R,S), (R,S) -> (1,*shape) each"""
        if not self.shapes:
            return {}
        with self.loaded(params, h.dtype) as (module, parameters):
            out = self.flat_step(module, as_tensor(x, h.dtype), as_tensor(h, h.dtype))
            leaves = [parameters[name] for name in self.shapes]
            found = gradients(out, leaves, as_tensor(dh, h.dtype))
            return {name: to_array(value)[None] for name, value in zip(self.shapes, found, strict=True)}

    def all_groups(self, params: Params, x: Array, h: Array, dh: Array) -> Params:
        """(G,R,I), (G,R,S), (G,R,S) -> (G,*shape) each, by one call: every group has a copy of the parameters."""
        import torch

        with self.loaded(params, h.dtype) as (module, parameters):
            called, G = as_module(module, self.flat_step), len(x)
            own = {name: parameters[name].detach().expand(G, *shape) for name, shape in self.shapes.items()}
            leaves = {id(parameters[name]): value.requires_grad_() for name, value in own.items()}
            weights = {name: leaves[id(one)] for name, one in list_owned(called) if id(one) in leaves}
            x_t, h_t, dh_t = (as_tensor(array, h.dtype) for array in (x, h, dh))

            def group(of_group: Any, *rows: Any) -> Any:
                return torch.func.functional_call(called, of_group, rows, tie_weights=False)

            with quiet_vmap():
                out = torch.vmap(group)(weights, x_t, h_t)
            found = gradients(out, list(leaves.values()), dh_t)
            return {name: to_array(value) for name, value in zip(self.shapes, found, strict=True)}

    def read_vjp(self, params: Params, h: Array, dy: Array) -> tuple[Array, Params]:
        with self.loaded(params, h.dtype) as (module, parameters):
            leaf = as_tensor(h, h.dtype).requires_grad_()
            leaves = [parameters[name] for name in self.readout_shapes]
            found = gradients(self.flat_read(module, leaf), [leaf, *leaves], as_tensor(dy, h.dtype))
            own = dict(zip(self.readout_shapes, map(to_array, found[1:]), strict=True))
            return to_array(found[0]), own


@contextmanager
def one_thread() -> Iterator[None]:
    """PyTorch with one thread: how many there are changes the last bits, and small products gain nothing from more."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def as_module(module: Any, forward: Callable[..., Any]) -> Any:
    """A module that calls a function of another one, whose parameters can then be exchanged in the call."""
    import torch

    class Called(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.module = module

        def forward(self, *inputs: Any) -> Any:
            return forward(self.module, *inputs)

    return Called()


# ---------------------------------------------------------------------------------------------------- derivatives


def gradients(out: Any, leaves: Sequence[Any], cotangent: Any) -> list[Any]:
    """The derivatives of <out, cotangent> by every leaf; zeros where it does not depend on one."""
    import torch

    found: Sequence[Any] = [None] * len(leaves)
    if out.requires_grad and leaves:
        found = torch.autograd.grad(out, leaves, cotangent, allow_unused=True)
    return [torch.zeros_like(leaf) if one is None else one for leaf, one in zip(leaves, found, strict=True)]


@contextmanager
def quiet_vmap() -> Iterator[None]:
    """Without the warning that vmap computes some function row by row."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="There is a performance drop", category=UserWarning)
        yield


def pull_rows(out: Any, leaf: Any, cotangents: Any) -> Any:
    """`gradients` by one leaf for each of several cotangents, in one call where vmap can.  (K,R,S) -> (K,*leaf)"""
    import torch

    if len(cotangents) == 1 or not out.requires_grad:
        return gradients(out, [leaf], cotangents[:1].sum(0))[0].expand(len(cotangents), *leaf.shape)
    options = {"retain_graph": True, "allow_unused": True}
    try:
        with quiet_vmap():
            (found,) = torch.autograd.grad(out, [leaf], cotangents, is_grads_batched=True, **options)
    except RuntimeError:
        each = [torch.autograd.grad(out, [leaf], one, **options)[0] for one in cotangents]
        found = None if each[0] is None else torch.stack(each)
    return torch.zeros(len(cotangents), *leaf.shape, dtype=leaf.dtype) if found is None else found


# ---------------------------------------------------------------------------------------------------- tensors


def as_tensor(array: Array, dtype: np.dtype[Any]) -> Any:
    """A tensor that shares the memory of an array where it can."""
    import torch

    array = np.ascontiguousarray(array, dtype)
    return torch.from_numpy(array if array.flags.writeable else array.copy())


def to_array(tensor: Any) -> Array:
    return np.asarray(tensor.detach().resolve_conj().resolve_neg().numpy())


def flatten_state(layout: Layout, returned: Any, h: Any) -> Any:
    """What a step returned as one tensor (R, S), if it is a state as it was given.

    Raises:
        ConfigurationError: it has another structure, shape or dtype.
    """
    import torch

    leaves = dict(list_leaves(returned))
    if not is_state(layout, returned, len(h)):
        shapes = {path: describe_tensor(leaf) for path, leaf in leaves.items()}
        raise ConfigurationError(
            f"step: returns {describe_tree(returned, shapes)} for the state {layout.describe(len(h))}: must return the "
            f"next state in the same structure and shape; {advise_structure(layout, returned, len(h))}"
        )
    for leaf in leaves.values():
        refuse_dtype("step", leaf, h)
    return torch.cat([leaves[path].reshape(len(h), -1) for path in layout.paths], dim=1)


def is_state(layout: Layout, returned: Any, count: int) -> bool:
    """Whether it has the structure of the state, and so many rows of the same shapes."""
    import torch

    leaves = list_leaves(returned)
    found = {path: tuple(leaf.shape) if isinstance(leaf, torch.Tensor) else None for path, leaf in leaves}
    return found == {path: (count, *shape) for path, shape in zip(layout.paths, layout.shapes, strict=True)}


def advise_structure(layout: Layout, returned: Any, count: int) -> str:
    """What to do about a step that returns something else than the next state: (output, state) above all."""
    if isinstance(returned, tuple | list) and len(returned) == 2:
        first, second = (is_state(layout, one, count) for one in returned)
        if first or second:
            return f"give step=lambda m, x, s: m(x, s)[{int(second)}]"
    return "give step=lambda module, x_t, state: …, or another state="


def describe_tensor(leaf: Any) -> str:
    shape = getattr(leaf, "shape", None)
    return type(leaf).__name__ if shape is None else str(tuple(shape))


def refuse_dtype(called: str, found: Any, given: Any) -> None:
    """Refuses a tensor of another dtype than that of the state."""
    if found.dtype != given.dtype:
        one, other = (str(tensor.dtype).removeprefix("torch.") for tensor in (found, given))
        advice = f", or give dtype={one!r}" if one in ("float32", "float64") else ""
        raise ConfigurationError(
            f"{called}: returns {one} for a state in {other}: must keep the dtype; remove the conversion{advice}"
        )


# ---------------------------------------------------------------------------------------------------- modules


def list_owned(module: Any) -> list[tuple[str, Any]]:
    """Every parameter under the name of each module that has it, and each of these modules once."""
    parts = [(f"{prefix}.".lstrip("."), part) for prefix, part in module.named_modules()]
    return [(prefix + name, one) for prefix, part in parts for name, one in part.named_parameters(recurse=False)]


def parameter_arrays(module: Any) -> Params:
    """The numbers of all parameters that a derivative can be taken by, in their own dtype where NumPy has it.

    Raises:
        ConfigurationError: one of them is complex.
        NonFiniteError: one of them has a NaN or an infinity.
    """
    import torch

    found = {}
    for name, parameter in module.named_parameters():
        if parameter.is_complex():
            raise ConfigurationError(f"parameter {name!r}: is complex: must be real; keep its two parts as parameters")
        if parameter.is_floating_point():
            values = parameter.detach().cpu()
            found[name] = (values if values.dtype == torch.float64 else values.float()).numpy().copy()
            if not np.isfinite(found[name]).all():
                raise NonFiniteError(f"parameter {name!r}: has a NaN or an infinity")
    return found


def copy_in_dtype(module: Any, dtype: np.dtype[Any]) -> tuple[Any, dict[str, Any], dict[str, Array]]:
    """A copy of a module whose floating-point tensors have that dtype, and its parameters by name."""
    import torch

    copied = copy.deepcopy(module).cpu().to(getattr(torch, dtype.name))
    parameters = {name: one for name, one in copied.named_parameters() if one.is_floating_point()}
    for parameter in parameters.values():
        parameter.requires_grad_()
    return copied, parameters, {}
