"""Truncations with many plans: cuts drawn at random, or the mean over the phases of chunks."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Annotated, ClassVar, Literal, Self

import numpy as np

from bpttlab.errors import ConfigurationError
from bpttlab.fields import Field
from bpttlab.gradients.backward import backward
from bpttlab.gradients.plan import Ensemble, Plan, full_plan
from bpttlab.gradients.trace import Trace
from bpttlab.networks.cells.cell import Params
from bpttlab.networks.losses import Loss
from bpttlab.numerics.array import Array
from bpttlab.numerics.random_streams import Rng, check_generator
from bpttlab.truncation.scheme import Draws, ManyPlans, generator_of


@dataclass(frozen=True)
class ChunkedMean(ManyPlans):
    """Chunks of K steps, averaged over all K places where the first may begin.

    Of a path of l steps l of the K places cut it: the mean gradient keeps the part 1 - l/K of G_l, as does the mean of
    the per-loss truncations at 1, ..., K.
    """

    name: ClassVar[str] = "chunked_mean"
    truncation: int

    def ensemble(self, length: int, batch: int, rng: np.random.Generator | None) -> Ensemble:
        """No draws. Offsets beyond the end of the sequence cut nothing and are one plan."""
        K, t = self.truncation, np.arange(1, length + 1)
        offsets = np.arange(min(K, length))
        cut = t % K == offsets[:, None]
        weight = np.full(len(offsets), 1.0 / K)
        weight[0] = (1 + K - len(offsets)) / K
        return Ensemble(np.where(cut, 0.0, 1.0)[..., None], weight, drawn=False)

    def members(self, length: int) -> int:
        return min(self.truncation, length)

    def with_members(self, number: int) -> Self:
        return replace(self, truncation=number)


@dataclass(frozen=True)
class Random(ManyPlans):
    """Cut between t and t+1 with probability c_t, or else carry 1/(1 - c_t): unbiased (ARTBP, Tallec & Ollivier 2017).

    Attributes:
        truncation: K, the mean number of steps between two cuts (of the published probability, about); >= 2.
        cuts: with "published" (their section on the choice of c_t) the lengths between cuts have tails of power alpha.
    """

    name: ClassVar[str] = "random"
    truncation: int
    cuts: Annotated[
        Literal["constant", "published"],
        Field(
            description="probability of a cut at a step; constant: 1/K; "
            "published: (alpha - 1) / ((alpha - 2) K + n), n steps after the last cut"
        ),
    ] = "constant"
    alpha: Annotated[float, Field(gt=2, description="of the published probability; 4 in the paper")] = 4.0
    per: Annotated[
        Literal["sequence", "batch"],
        Field(description="sequence: every sequence is cut at steps of its own; batch: all at the same steps"),
    ] = "sequence"
    draws: Draws = 32

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.truncation < 2:
            raise ConfigurationError(f"truncation={self.truncation}: must be an integer >= 2 for scheme 'random'")

    def probability(self, since: Array) -> Array:
        """c_t at so many steps since the last cut, from 1."""
        if self.cuts == "constant":
            return np.full(since.shape, 1.0 / self.truncation)
        return (self.alpha - 1.0) / ((self.alpha - 2.0) * self.truncation + since)

    def ensemble(self, length: int, batch: int, rng: np.random.Generator | None) -> Ensemble:
        carries = self.carries(length, batch, self.draws, generator_of(self, rng))
        return Ensemble(carries, np.full(self.draws, 1.0 / self.draws), drawn=True)

    def carries(self, length: int, batch: int, draws: int, rng: np.random.Generator) -> Array:
        """Drawn forward in time: a cut may depend on the last one.  (draws, T, B), or (draws, T, 1)"""
        columns = batch if self.per == "sequence" else 1
        carry = np.ones((length, draws, columns))
        since = np.ones((draws, columns))
        for t in range(length - 1):
            c = self.probability(since)
            cut = rng.random(since.shape) < c
            carry[t] = np.where(cut, 0.0, 1.0 / (1.0 - c))
            since = np.where(cut, 1.0, since + 1.0)
        return carry.swapaxes(0, 1)

    def draw(self, length: int, rng: Rng, batch: int = 1) -> Plan:
        """One plan, for `backward`."""
        return full_plan(length, self.carries(length, batch, 1, check_generator(rng))[0])

    def one_gradient(self, trace: Trace, loss: Loss | Array, rng: np.random.Generator) -> Params:
        """That of one plan, drawn for it alone."""
        return backward(trace, loss, self.draw(trace.length, rng, trace.h.shape[1]))

    def members(self, length: int) -> int:
        return self.draws

    def with_members(self, number: int) -> Self:
        return replace(self, draws=number)
