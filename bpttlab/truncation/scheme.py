"""The contract of a truncation scheme: its gradient, and an estimate of its bias.

A scheme is a frozen dataclass with a `name` and one method, `one_gradient`. The others have defaults:

    one_gradient(trace, loss, rng)                  the gradient as training would compute it: one plan, one draw
    estimate(trace, loss, error, full, rng)         its gradients, and the bias of their mean
    cost(trace)                                     the cost of one gradient, in products with a Jacobian

`Segmented` and `ManyPlans` are schemes that are data, one plan or an ensemble of plans (`gradients.plan`): a subclass
states its plan, and everything else follows. A scheme of another kind subclasses `Scheme`, or `Forward` if it has no K.

Index legend: T time, B sequence, N hidden state, O output, R plans or draws.
"""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Self

import numpy as np

from bpttlab.errors import ConfigurationError, LabError
from bpttlab.fields import Field, format_value, settle_fields
from bpttlab.gradients.backward import backward
from bpttlab.gradients.estimators import GradientEstimate, ensemble_estimate, estimate_by_difference, plan_estimate
from bpttlab.gradients.plan import Ensemble, Plan, full_plan, is_shared
from bpttlab.gradients.trace import Trace
from bpttlab.networks.cells.cell import Params
from bpttlab.networks.losses import Loss
from bpttlab.numerics.array import Array
from bpttlab.numerics.random_streams import Rng, check_generator
from bpttlab.numerics.scaled import Gradients, Scaled


class Scheme(ABC):
    """How the gradient is cut, or estimated; subclasses are frozen dataclasses, the named ones final.

    Attributes:
        name: what configurations call it.
        takes_truncation: whether it has a K, which `truncation=` sets; with truncation=full it is the full gradient.
        forwards: whether it carries derivatives forwards, of which a step costs much more.
        is_full: whether it is the full gradient, which truncation=full stands for.
    """

    name: ClassVar[str]
    takes_truncation: ClassVar[bool] = True
    forwards: ClassVar[bool] = False
    is_full: ClassVar[bool] = False

    truncation: Annotated[
        int | None,
        Field(ge=1, given_by="truncation", description="K, steps: how far back a loss is sent (lags l < K)"),
    ]
    """K, the longest path in steps (lags l < K) or what the scheme says that it is; None for the full gradient."""

    def __post_init__(self) -> None:
        settle_fields(self, "scheme.{}", bare=("truncation",))

    # ------------------------------------------------------------------ the gradient

    @abstractmethod
    def one_gradient(self, trace: Trace, loss: Loss | Array, rng: np.random.Generator) -> Params:
        """The gradient as training would compute it, of one plan or one draw.

        Args:
            trace: a forward pass.
            loss: as in `backward`.
            rng: for what is drawn; most schemes draw nothing.

        Returns:
            Keyed like the parameters of the recurrence; others may be there too.
        """

    def cost(self, trace: Trace) -> int:
        """Products of a Jacobian, or its transpose, with one vector in `one_gradient`, for each sequence."""
        return trace.length

    def estimate(
        self,
        trace: Trace,
        loss: Loss | Array,
        error: Scaled,
        full: Gradients,
        rng: np.random.Generator | None = None,
    ) -> GradientEstimate:
        """The gradients of the scheme for a loss, and the bias of their mean.

        By default there is one gradient, and its bias is the difference from the full one, no smaller than rounding.

        Args:
            trace: a forward pass.
            loss: as in `backward`.
            error: (T, B, N), dL/dh_t by way of each step's own loss.
            full: the full gradient.
            rng: needed by schemes that draw.
        """
        gradient = self.one_gradient(trace, loss, rng or np.random.default_rng(0))
        if not isinstance(gradient, Mapping):
            allowed = "a dictionary of gradients, keyed like the parameters of the recurrence"
            raise LabError(f"{type(self).__name__}.one_gradient returns {type(gradient).__name__}: must be {allowed}")
        return estimate_by_difference(trace, gradient, full, self.cost(trace), self.truncation)

    def seconds(self, trace: Trace, loss: Loss | Array, rng: np.random.Generator) -> float:
        """Seconds of one gradient in plain numbers, the second of two calls, without any measurement."""
        self.one_gradient(trace, loss, rng)
        begun = time.perf_counter()
        self.one_gradient(trace, loss, rng)
        return time.perf_counter() - begun

    # ------------------------------------------------------------------ what a configuration and its cost ask

    @classmethod
    def complete(cls, fields: dict[str, Any], truncation: int) -> dict[str, Any]:
        """The fields of a configuration with K, and with the null fields that follow from it."""
        return {**fields, "truncation": truncation}

    def check_cell(self, name: str) -> None:  # noqa: B027  # most can do with any cell
        """Refuses a cell for which the method is not defined."""

    @property
    def bound_lags(self) -> int | None:
        """The longest lag of the recorded bounds on the bias (`bias_bounds`); None: no bounds."""
        return None

    def members(self, length: int) -> int:
        """The number of draws, or plans, of an estimate at T = length; 0 if there is one gradient."""
        return 0

    def with_members(self, number: int) -> Self:
        """The same scheme with so many; itself where there is one gradient."""
        return self


class Segmented(Scheme):
    """A scheme that is one plan."""

    @abstractmethod
    def segments(self, length: int) -> list[tuple[int, int, int]]:
        """(start, stop, loss_from) of every segment."""

    def plan(self, length: int) -> Plan:
        """The plan for a length of T steps. A scheme that cuts nothing has the full plan, to the last bit."""
        given = self.segments(length)
        segments = np.array(given)
        if segments.ndim != 2 or segments.shape[1] != 3:
            allowed = "a list of (start, stop, loss_from)"
            raise LabError(f"{type(self).__name__}.segments returns {format_value(given)}: must be {allowed}")
        if not segments[:, 0].any():
            return full_plan(length)
        return Plan(segments, np.ones(length))

    def one_gradient(self, trace: Trace, loss: Loss | Array, rng: np.random.Generator) -> Params:
        return backward(trace, loss, self)

    def cost(self, trace: Trace) -> int:
        return self.plan(trace.length).steps_computed

    def estimate(
        self, trace: Trace, loss: Loss | Array, error: Scaled, full: Gradients, rng: np.random.Generator | None = None
    ) -> GradientEstimate:
        """The part that is cut off is computed directly and not as a difference: 1e-200 is 1e-200.

        (Not where sequences have lengths of their own, and the plan of one length is no part of that of a longer one.)
        """
        if trace.padded and not is_shared(self, trace.lengths):
            return super().estimate(trace, loss, error, full, rng)
        return plan_estimate(trace, error, self.plan(trace.length), full, self.truncation)


class ManyPlans(Scheme):
    """A scheme that is an ensemble of plans."""

    @abstractmethod
    def ensemble(self, length: int, batch: int, rng: np.random.Generator | None) -> Ensemble:
        """The plans for `batch` sequences of T steps. Shorter ones have the beginning of the plans of the longest."""

    def one_gradient(self, trace: Trace, loss: Loss | Array, rng: np.random.Generator) -> Params:
        """The gradient of the last plan."""
        carry = self.ensemble(trace.length, trace.h.shape[1], rng).carry[-1]
        return backward(trace, loss, full_plan(trace.length, carry))

    def estimate(
        self, trace: Trace, loss: Loss | Array, error: Scaled, full: Gradients, rng: np.random.Generator | None = None
    ) -> GradientEstimate:
        """The mean over all plans; the part that they cut off is computed directly and not as a difference."""
        ensemble = self.ensemble(trace.length, trace.h.shape[1], rng)
        return ensemble_estimate(trace, error, ensemble, self.truncation)


class Forward(Scheme):
    """A gradient that is carried forward in time (`forward_mode`), without a K."""

    takes_truncation: ClassVar[bool] = False
    forwards: ClassVar[bool] = True
    truncation: ClassVar[int | None] = None  # type: ignore[misc]


def generator_of(scheme: Scheme, rng: Rng | None) -> np.random.Generator:
    """The generator of a scheme that draws.

    Raises:
        ConfigurationError: there is none.
    """
    if rng is None:
        raise ConfigurationError(f"rng=None: scheme '{scheme.name}' needs a numpy.random.Generator or a seed")
    return check_generator(rng)


Draws = Annotated[int, Field(ge=2, description="gradients that are drawn; mean and variance are those of so many")]
