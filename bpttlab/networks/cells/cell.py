"""The contract of a cell: five methods say what it is, and everything else has a default.

A new cell is a frozen dataclass with a `name`, its fields, and

    shapes()                  of the parameters of its recurrence
    step(params, x_t, h_prev) h_t
    linearize(params, x, h)   what the derivatives of every step need of the trajectory
    vjp(...)                  cotangents of h_t -> those of the pre-activations a_t and of h_{t-1}
    parameter_vjp(...)        cotangents of a_t -> dL/dparams, summed

Gradients, truncations, Jacobian products, lag terms and all measures are made of these, and know no cell by name. The
defaults of the other methods are derived from the five; a cell overrides those that it can compute faster, as the
shipped ones do. Only the recurrence is sequential: with `project`, a cell moves out of the loop over t what does not
wait for h_{t-1}.

Index legend: T time, B sequence, I input, N hidden state, A pre-activations, O output; `...` any leading axes.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable
from functools import cached_property
from itertools import accumulate, pairwise
from typing import Annotated, Any, ClassVar, NamedTuple

import numpy as np

from bpttlab import plugins
from bpttlab.errors import ConfigurationError
from bpttlab.fields import Field, format_value, settle_fields
from bpttlab.networks import activations
from bpttlab.networks.activations import Activation
from bpttlab.networks.cells.input_scales import Scales, gaussian
from bpttlab.networks.initializers import GaussianRadius, Initializer, NoInitializer
from bpttlab.numerics.array import Array
from bpttlab.numerics.random_streams import Rng, check_generator
from bpttlab.numerics.short_repr import show_briefly

Params = dict[str, Array]

NO_PARAMS: Params = {}


class Local(NamedTuple):
    """The values on which the immediate derivatives of some steps depend, each with the same leading axes.

    Attributes:
        x: (..., I) inputs of the steps.
        h_prev: (..., N) states before them.
        linearization: (..., any) what `Cell.linearize` says of them.
        params: of the network, for cells whose immediate derivatives depend on them.
    """

    x: Array
    h_prev: Array
    linearization: Array
    params: Params = NO_PARAMS

    def __repr__(self) -> str:
        return show_briefly(self)

    def at(self, index: Any) -> Local:
        """Along leading axes."""
        return self.map(lambda array: array[index])

    def map(self, function: Callable[[Array], Array]) -> Local:
        """A function of each of the three arrays, beside the same parameters."""
        return Local(function(self.x), function(self.h_prev), function(self.linearization), self.params)


HIDDEN_SIZE = Field(ge=1, configured=32, description="N, hidden units")


class Cell(ABC):
    """A recurrent unit; subclasses are frozen dataclasses and final.

    Where it has more state than h, all of it is one vector of `state_size` numbers, so that J_t is square and complete.
    The methods call it h, and its size N, as for the cell of the notes.
    """

    name: ClassVar[str]
    wraps: ClassVar[bool] = False
    """Whether it is made of another cell, which its field `of` says."""

    # fields of every cell, which declares them again as `input_size: int`, …: bounds and meaning are those stated here
    input_size: Annotated[int, Field(ge=1, given_by="task", description="I, inputs of a step")]
    hidden_size: Annotated[int, HIDDEN_SIZE]
    output_size: Annotated[
        int, Field(ge=0, given_by="task", description="O, outputs of a step; 0: there is no readout")
    ]
    output_activation: Annotated[str, Field(choices=activations.activation_names, description="f_y, of the readout")]

    def __post_init__(self) -> None:
        settle_fields(self)

    # ------------------------------------------------------------------ what a cell has to say

    @abstractmethod
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Shape of each parameter of the recurrence, in the order in which they are drawn.

        The defaults take a name that begins with V for a matrix that acts on x_t, every other matrix with N columns for
        blocks (N, N) that act on h_{t-1}, one below the other, and a vector for biases.
        """

    @abstractmethod
    def step(self, params: Params, z_t: Array, h_prev: Array) -> Array:
        """h_t from the projection of x_t (x_t itself where `project` is left as it is) and h_{t-1}.

        (B,any), (B,N) -> (B,N)
        """

    @abstractmethod
    def linearize(self, params: Params, x: Array, h: Array) -> Array:
        """All that the derivatives of a step need of the trajectory, for every t.  (T,B,I), (T+1,B,N) -> (T,B,any)"""

    @abstractmethod
    def vjp(self, params: Params, linearization_t: Array, dh_t: Array) -> tuple[Array, Array]:
        """Cotangents of a_t and of h_{t-1} from that of h_t.  (...,any), (...,N) -> (...,A), (...,N)

        Linear in dh_t. Leading axes are broadcast: (B,any) goes with (R,B,N).
        """

    @abstractmethod
    def parameter_vjp(self, local: Local, da: Array) -> Params:
        """Immediate derivatives of a_t contracted with da_t (...,A), summed over leading axes in one product each."""

    # ------------------------------------------------------------------ the recurrence: what a faster cell overrides

    def project(self, params: Params, x: Array) -> Array:
        """All of a_t that does not wait for h_{t-1}, for every t at once; x itself by default.  (T,B,I) -> (T,B,any)"""
        return x

    def activation_inputs(self, params: Params, x: Array, h: Array) -> list[tuple[Activation, Array]]:
        """Each activation within a step, and the pre-activations that it is applied to, for every t.

        (T,B,I), (T+1,B,N) -> arrays (T,B,any). By default none: then no derivative is counted as too small
        (`Trace.underflows`).
        """
        return []

    def input_vjp(self, params: Params, linearization_t: Array, da_t: Array) -> Array:
        """Cotangent of x_t from that of a_t: V^T da_t where x_t is in V x_t alone.  (...,any), (...,A) -> (...,I)

        Raises:
            ConfigurationError: the cell has no V (A, I), and does not say what else its input goes through.
        """
        V = params.get("V")
        if V is None or V.shape != (da_t.shape[-1], self.input_size):
            raise ConfigurationError(f"cell={self.name}: has no parameter V of shape (A, I); must define input_vjp")
        return (rows(da_t) @ params["V"]).reshape(*da_t.shape[:-1], self.input_size)

    def immediate(self, local: Local, da: Array) -> Params:
        """`parameter_vjp` without its sum: each row by itself.  (...,A) -> (...,*shape) each

        One call of `parameter_vjp` a row; cells whose a_t is affine in V, W and b_h have it for all rows at once.
        """
        axes = da.shape[:-1]
        wide = local.map(lambda array: np.broadcast_to(array, (*axes, array.shape[-1])))
        found = {name: np.empty((*axes, *shape), da.dtype) for name, shape in self.shapes().items()}
        for index in np.ndindex(*axes):
            for name, gradient in self.parameter_vjp(wide.at(index), da[index]).items():
                found[name][index] = gradient
        return found

    def parameter_vjp_each(self, local: Local, da: Array) -> Params:
        """`parameter_vjp` of each sequence by itself, summed over steps.  (T,B,A) -> (B,*shape) each

        By default one call of `parameter_vjp` a sequence; cells whose a_t is affine have it in one product for all.
        """
        alone = [(slice(None), slice(b, b + 1)) for b in range(da.shape[1])]
        each = [self.parameter_vjp(local.at(sequence), da[sequence]) for sequence in alone]
        return {name: np.stack([one[name] for one in each]) for name in self.shapes()}

    def jacobian(self, params: Params, linearization_t: Array) -> Array:
        """J_t[n,m] = dh_t[n]/dh_{t-1}[m]; by default what `vjp` makes of the identity.  (...,any) -> (...,N,N)"""
        _, dh_prev = self.vjp(params, linearization_t, identity_rows(self.state_size, linearization_t))
        return np.moveaxis(dh_prev, 0, -2)

    # ------------------------------------------------------------------ second derivatives: what some penalties need

    @property
    def has_second_derivatives(self) -> bool:
        """Whether it has `jacobian_vjp` and `linearize_vjp`."""
        return type(self).linearize_vjp is not Cell.linearize_vjp

    def jacobian_vjp(self, params: Params, linearization_t: Array, dJ_t: Array) -> tuple[Params, Array]:
        """Cotangents of parameters and linearization from those of J_t, by way of `jacobian` alone.

        (...,any), (...,N,N) -> gradients of the parameters that J_t contains, summed over leading axes; (...,any)

        Raises:
            ConfigurationError: the cell has no second derivatives.
        """
        raise self.lacks_second_derivatives()

    def linearize_vjp(self, params: Params, x: Array, h: Array, dlinearization: Array) -> tuple[Params, Array]:
        """Cotangents of parameters and states from those of `linearize`, whose arguments count as independent.

        (T,B,I), (T+1,B,N), (T,B,any) -> gradients of all parameters of the recurrence, summed; (T+1,B,N)

        The second result, taken as errors of a full walk back, gives what the states contribute.

        Raises:
            ConfigurationError: the cell, or its activation, has no second derivatives.
        """
        raise self.lacks_second_derivatives()

    def lacks_second_derivatives(self) -> ConfigurationError:
        """The error that names the cells that have them."""
        cells = plugins.available("cell").items()
        served = [name for name, kind in cells if kind.linearize_vjp is not Cell.linearize_vjp]
        return ConfigurationError(
            f"cell={self.name}: has no second derivatives (linearize_vjp); served are {', '.join(served)}"
        )

    # ------------------------------------------------------------------ bounds

    @property
    def lipschitz(self) -> float | None:
        """gamma, where every step has ||J_t|| <= gamma ||W||; None where no such bound is known."""
        return None

    # ------------------------------------------------------------------ sizes

    @property
    def recurrent_parameters(self) -> tuple[str, ...]:
        """Names of the parameters that gradients through time belong to, those that act on h_{t-1} first."""
        blocks = self.block_counts()
        return (*blocks, *(name for name in self.shapes() if name not in blocks))

    @property
    def x_size(self) -> int:
        """How many numbers the cell is given at a step: I, and those that `extend_inputs` puts beside them."""
        return self.input_size

    def extend_inputs(self, x: Array, rng: Rng) -> Array:
        """x with what the cell draws beside it, once for a batch; x itself by default.  (T,B,I) -> (T,B,x_size)"""
        return x

    @property
    def state_parts(self) -> dict[str, int]:
        """The parts of the state by name, in their order, and how many numbers each has; by default all of it is h.

        A cell says it once: `state_size` and `parts` follow. If it says these instead, they are what counts.
        """
        kind = type(self)
        if kind.parts is not Cell.parts:
            return {name: part.stop - part.start for name, part in self.parts.items()}
        return {"h": self.hidden_size if kind.state_size is Cell.state_size else self.state_size}

    @cached_property
    def state_size(self) -> int:
        """N of the whole state; `hidden_size` where h is all of it."""
        return sum(self.state_parts.values())

    @property
    def preactivation_size(self) -> int:
        """A, how many pre-activations (gates included) a step has."""
        return self.widths[0]

    @property
    def linearization_size(self) -> int:
        """How many numbers `linearize` has of a step."""
        return self.widths[1]

    @cached_property
    def widths(self) -> tuple[int, int]:
        """A, and the numbers of `linearize`: those of one step of a network of zeros."""
        params = {name: np.zeros(shape) for name, shape in self.shapes().items()}
        with np.errstate(all="ignore"):
            h = np.zeros((2, 1, self.state_size))
            linearization = self.linearize(params, np.zeros((1, 1, self.x_size)), h)
            da, _ = self.vjp(params, linearization[0], h[0])
        return da.shape[-1], linearization.shape[-1]

    @property
    def readout_slice(self) -> slice:
        """The part of the state that the readout sees, `hidden_size` numbers; the first ones by default."""
        return slice(None) if self.state_size == self.hidden_size else slice(0, self.hidden_size)

    @property
    def has_linear_readout(self) -> bool:
        """Whether the readout is that of the notes, with U and b_y."""
        return True

    @property
    def units(self) -> Array:
        """Which unit each number of the state belongs to: h_j and c_j of an LSTM to one.  (N,)"""
        return np.arange(self.state_size) % self.hidden_size

    @property
    def parts(self) -> dict[str, slice]:
        """Where each of `state_parts` is in the state."""
        sizes = self.state_parts
        return dict(zip(sizes, side_by_side_slices(sizes.values()), strict=True))

    # ------------------------------------------------------------------ drawing

    @property
    def takes_initializer(self) -> bool:
        """Whether an initializer draws W, as it does where there is a block that acts on h_{t-1}."""
        return bool(self.block_counts())

    def check_initializer(self, initializer: Initializer) -> None:
        """Refuses an initializer from which this cell cannot be drawn, before anything is computed."""
        if self.takes_initializer:
            initializer.check_size(self.hidden_size)
        elif initializer not in (NoInitializer(), GaussianRadius()):  # the default stands for nothing requested
            raise ConfigurationError(
                f"initializer '{initializer.name}' with {initializer.target}={initializer.requested}: the cell "
                f"'{self.name}' has no matrix W to draw; leave initializer and spectral_radius out"
                f"{self.describe_alternative()}"
            )

    def check_scales(self, scales: Scales) -> None:  # noqa: B027  # nothing is refused by default
        """Refuses scales that would have no effect on the weights of this cell, before anything is computed."""

    def describe_alternative(self) -> str:
        """The end of a message about a cell without a W to draw: what to set instead."""
        return ""

    def draw(self, rng: np.random.Generator, initializer: Initializer, scales: Scales) -> Params:
        """The parameters of the recurrence in float64, each from a stream of its own.

        By default each (N, N) block that acts on h_{t-1} by the initializer, vectors N(0, scales.b^2), the other
        matrices N(0, scales.V^2 / columns).
        """
        self.check_initializer(initializer)
        shapes, blocks = self.shapes(), self.block_counts()
        streams = rng.spawn(len(shapes))
        return {
            name: draw_blocks(stream, initializer, self.hidden_size, blocks[name])
            if name in blocks
            else gaussian(stream, shape, scales.V if len(shape) > 1 else scales.b)
            for stream, (name, shape) in zip(streams, shapes.items(), strict=True)
        }

    def block_counts(self) -> dict[str, int]:
        """How many (N, N) blocks the parameters have that act on h_{t-1} (see `shapes`)."""
        N = self.hidden_size
        return {
            name: shape[0] // N
            for name, shape in self.shapes().items()
            if len(shape) == 2 and shape[1] == N and shape[0] % N == 0 and not name.startswith("V")
        }

    def recurrent_blocks(self, params: Params) -> dict[str, Array]:
        """The (N, N) matrices that act on h_{t-1}, by name; the first is the one that the tables describe as W.

        By default those of `block_counts` (W, or W_1, W_2, ...); without any, J_t at x_t = h_{t-1} = 0, as `J_0`.
        """
        found: dict[str, Array] = {}
        for name, count in self.block_counts().items():
            own = [name] if count == 1 else [f"{name}_{number + 1}" for number in range(count)]
            found |= dict(zip(own, np.split(params[name], count), strict=True))
        return found or {"J_0": self.jacobian_at_zero(params)}

    def jacobian_at_zero(self, params: Params) -> Array:
        """J_t at x_t = h_{t-1} = 0.  (N,N)"""
        dtype = weights_dtype(params)
        h = np.zeros((2, 1, self.state_size), dtype)
        x = np.zeros((1, 1, self.x_size), dtype)
        h[1] = self.step(params, self.project(params, x)[0], h[0])
        return self.jacobian(params, self.linearize(params, x, h)[0])[0]

    def initial_states(self, drawn: Array) -> Array:
        """States to start from, of normal numbers: these, where every number may stand in the state.  (B,N) -> (B,N)"""
        return drawn

    def probe_states(self, drawn: Array) -> Array:
        """States before a step: a derivative that is not zero everywhere is not zero after one of them.

        They show which derivatives are zero by structure (SnAp). Uniform numbers do, unless the cell has branches: then
        two or more states, in turn before one branch and the other.  (count,N) -> (count,N)
        """
        return drawn

    # ------------------------------------------------------------------ constraints: what training moves

    def unconstrain(self, params: Params) -> Params:
        """Numbers that may take any value, and the parameters in terms of them; for most cells the parameters."""
        return params

    def constrain(self, free: Params) -> Params:
        """The parameters from the free numbers: the inverse of `free`."""
        return free

    def constraint_vjp(self, free: Params, gradient: Params) -> Params:
        """dL/dfree from dL/dparams, once a gradient; a free number that it leaves out is to stay as it is."""
        return gradient

    # ------------------------------------------------------------------ the readout: notes eq. 1, for every cell

    def read(self, params: Params, h_t: Array) -> Array:
        """Notes eq. 1: y_hat_t = f_y(U h_t + b_y).  (...,N) -> (...,O)"""
        return activations.find_activation(self.output_activation).function(self.read_preactivations(params, h_t))

    def read_preactivations(self, params: Params, h_t: Array) -> Array:
        """U h_t + b_y.  (...,N) -> (...,O)"""
        return h_t[..., self.readout_slice] @ params["U"].T + params["b_y"]

    def readout_vjp(self, params: Params, h_t: Array, y_hat: Array, dy_hat: Array) -> tuple[Array, Array]:
        """Cotangents of U h_t + b_y and of h_t (the step's own error) from dL/dy_hat.

        (...,N), (...,O), (...,O) -> (...,O), (...,N)
        """
        f_y = activations.find_activation(self.output_activation)
        da_y = f_y.slope(self.read_preactivations(params, h_t) if f_y.saturates else y_hat) * dy_hat
        return da_y, self.state_vjp(params["U"], da_y)

    def state_vjp(self, U: Array, da_y: Array) -> Array:
        """Cotangent of h_t from that of U h_t + b_y: U^T da_y where the readout sees the state.  (...,O) -> (...,N)"""
        if self.state_size == self.hidden_size:
            return da_y @ U
        dh_t = np.zeros((*da_y.shape[:-1], self.state_size), da_y.dtype)
        dh_t[..., self.readout_slice] = da_y @ U
        return dh_t

    def read_gradient(self, params: Params, h_t: Array, da_y: Array) -> Params:
        """Notes eq. 3: dL/dU = sum_t dL_t/dy_hat_t dy_hat_t/dU; no path through time, hence no recursion."""
        return {"U": rows(da_y).T @ rows(h_t[..., self.readout_slice]), "b_y": rows(da_y).sum(axis=0)}

    # ------------------------------------------------------------------ weights

    def parameter_shapes(self) -> dict[str, tuple[int, ...]]:
        """Shape of every parameter, those of the readout among them."""
        return {**self.shapes(), "U": (self.output_size, self.hidden_size), "b_y": (self.output_size,)}

    def init(
        self,
        rng: Rng,
        initializer: Initializer | None = None,
        spectral_radius: float | None = None,
        scales: Scales | None = None,
        dtype: str = "float64",
    ) -> Params:
        """Draw the weights.

        Each parameter has a stream of its own, so that W is the same W whatever the sizes of the others.

        Args:
            rng: the source of randomness, a generator or a seed.
            initializer: of W; by default a Gaussian matrix rescaled to `spectral_radius` exactly.
            spectral_radius: of W, for the default initializer only (1 unless stated).
            scales: standard deviations of the other weights.
            dtype: float64 or float32; drawn in float64 in either case.

        Raises:
            ConfigurationError: both an initializer and a spectral radius are given; an argument is not as above.
        """
        check_drawing(initializer, scales, dtype)
        if initializer is not None and spectral_radius is not None:
            raise ConfigurationError(f"spectral_radius={spectral_radius}: state it in the initializer that is given")
        initializer = initializer or GaussianRadius(1.0 if spectral_radius is None else spectral_radius)
        scales = scales or Scales()
        recurrence, output = check_generator(rng).spawn(2)
        params = self.draw(recurrence, initializer, scales) | self.draw_readout(output, scales)
        return {name: values.astype(dtype) for name, values in params.items()}

    def draw_readout(self, rng: np.random.Generator, scales: Scales) -> Params:
        """U and b_y in float64, each from a stream of its own."""
        weights, biases = rng.spawn(2)
        return {
            "U": gaussian(weights, (self.output_size, self.hidden_size), scales.U),
            "b_y": gaussian(biases, (self.output_size,), scales.b),
        }


def weights_dtype(params: Params, *others: Array) -> np.dtype[Any]:
    """That of the weights, and of other arrays where they need a larger one; float64 of a network without weights."""
    return np.result_type(*params.values(), *others) if params else np.result_type(np.float64, *others)


def check_drawing(initializer: Any, scales: Any, dtype: Any) -> None:
    """Refuses arguments of `init` of another type."""
    if not isinstance(initializer, Initializer | None):
        kind = "a string" if isinstance(initializer, str) else f"of type {type(initializer).__name__}"
        example = "an initializer such as lab.Orthogonal()" + ("" if isinstance(initializer, type) else f", not {kind}")
        raise ConfigurationError(f"initializer={format_value(initializer)}: must be {example}")
    if not isinstance(scales, Scales | None):
        raise ConfigurationError(f"scales={format_value(scales)}: must be scales such as lab.Scales(b=0.1)")
    check_dtype(dtype)


def check_dtype(dtype: Any) -> None:
    """Refuses what is neither float64 nor float32."""
    if dtype not in ("float64", "float32", np.float64, np.float32):
        raise ConfigurationError(f"dtype={format_value(dtype)}: must be float64 or float32")


BLOCK_STEPS = 64
"""Steps that go into one matrix product before the loop over time: always as many, filled up with zeros at the end.

A row of a product can differ in its last bits with the number of rows beside it. With blocks of one size it does not,
so that a sequence has the bytes of the first steps of a longer one, and both may come from one forward pass.
"""


def project_in_blocks(x: Array, weights: Array) -> Array:
    """x_t . weights^T for every t, the same bytes whatever follows.  (T,B,I), (N,I) -> (T,B,N)

    One step alone, (B,I), is one product: within a loop over t it has as many rows at every t.
    """
    if x.ndim == 2:
        return x @ weights.T
    T, B, I = x.shape
    blocks = -(-T // BLOCK_STEPS)
    padded = np.zeros((blocks * BLOCK_STEPS, B, I), x.dtype)
    padded[:T] = x
    product = padded.reshape(blocks, BLOCK_STEPS * B, I) @ weights.T
    return product.reshape(-1, B, len(weights))[:T]


def draw_blocks(rng: np.random.Generator, initializer: Initializer, size: int, count: int) -> Array:
    """So many blocks (N, N), one below the other; of several each from a stream of its own.  (count N, N)"""
    streams = [rng] if count == 1 else rng.spawn(count)
    return np.concatenate([initializer.sample(stream, size) for stream in streams])


def side_by_side_slices(widths: Iterable[int]) -> tuple[slice, ...]:
    """Where blocks of these widths are in one axis."""
    stops = list(accumulate(widths, initial=0))
    return tuple(slice(start, stop) for start, stop in pairwise(stops))


def identity_rows(size: int, linearization_t: Array) -> Array:
    """The rows of the identity as cotangents of h_t, for every step.  (...,any) -> (size,...,size)"""
    axes = linearization_t.shape[:-1]
    unit = np.eye(size, dtype=linearization_t.dtype).reshape(size, *(1 for _ in axes), size)
    return np.broadcast_to(unit, (size, *axes, size))


def rows(array: Array) -> Array:
    """All leading axes as one: (...,N) -> (rows,N)."""
    return array.reshape(-1, array.shape[-1])
