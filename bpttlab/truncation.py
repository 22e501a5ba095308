"""Truncation schemes as data: which losses reach back how far.

A scheme turns a length T into a `Plan`: integer segments and a carry. `bptt` consumes plans and knows no scheme by
name, as a Runge-Kutta solver consumes tableaus.

A segment (start, stop, loss_from) goes back from h_stop to h_start; the losses L_t with loss_from < t <= stop enter
at their own step. The carry multiplies the cotangent on its way from t+1 to t, never the step's own error:

    delta_t = e_t + carry_t J_{t+1}^T delta_{t+1}

A scheme that cuts at random, or at several places of which the mean is wanted, has many plans: an `Ensemble` of carries
over one segment.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, NamedTuple

import numpy as np

from bpttlab.errors import ConfigurationError
from bpttlab.fields import settle_fields

Array = np.ndarray[Any, np.dtype[Any]]


@dataclass(frozen=True)
class Plan:
    """What is back-propagated in a sequence of T steps.

    Attributes:
        segments: integers (S, 3), rows (start, stop, loss_from), 0 <= start <= loss_from < stop <= T; no two have the
        same stop. carry: (T,), entry t-1 the factor from t+1 to t, entry T-1 is never used; or (T, B), one for each
        sequence.
    """

    segments: Array
    carry: Array

    @property
    def steps_computed(self) -> int:
        """Applications of a transposed Jacobian to one cotangent: the cost of the scheme."""
        return int((self.segments[:, 1] - self.segments[:, 0]).sum())


def full_plan(length: int, carry: Array | None = None) -> Plan:
    """One segment over everything."""
    return Plan(np.array([[0, length, 0]]), np.ones(length) if carry is None else carry)


class Ensemble(NamedTuple):
    """Plans of one segment over everything, which differ in their carries.

    Attributes:
        carry: (R, T, B), or (R, T, 1) where all sequences are cut at the same steps.
        weight: (R,), of each plan in the mean; they sum to one.
        drawn: whether the plans are draws from a distribution, and not all that there are.
    """

    carry: Array
    weight: Array
    drawn: bool


class Scheme(ABC):
    """How the gradient is cut, or estimated; subclasses are frozen dataclasses, the named ones final."""

    name: ClassVar[str]
    truncation: int | None
    """K, the longest path in steps (lags l < K) or what the scheme says that it is; None for the full gradient."""

    def __post_init__(self) -> None:
        settle_fields(self, "scheme.{}", bare=("truncation",))


class Segmented(Scheme):
    """A scheme that is one plan."""

    @abstractmethod
    def segments(self, length: int) -> list[tuple[int, int, int]]:
        """(start, stop, loss_from) of every segment."""

    def plan(self, length: int) -> Plan:
        """The scheme at a length of T steps. One that cuts nothing is the full plan, to the last bit."""
        segments = np.array(self.segments(length))
        if not segments[:, 0].any():
            return full_plan(length)
        return Plan(segments, np.ones(length))


@dataclass(frozen=True)
class Full(Segmented):
    """Every path (the notes)."""

    name: ClassVar[str] = "full"
    truncation: ClassVar[int | None] = None  # type: ignore[misc]  # a constant of this scheme, a field of the others

    def segments(self, length: int) -> list[tuple[int, int, int]]:
        return [(0, length, 0)]


@dataclass(frozen=True)
class PerLoss(Segmented):
    """Each L_t reaches back K steps: lags l < K (Williams & Peng 1990, BPTT(h))."""

    name: ClassVar[str] = "per_loss"
    truncation: int

    def __post_init__(self) -> None:
        super().__post_init__()
        check_truncation(self.truncation)

    def segments(self, length: int) -> list[tuple[int, int, int]]:
        return [(max(0, t - self.truncation), t, t - 1) for t in range(1, length + 1)]

    def steps_computed(self, length: int) -> int:
        """Those of its plan: K of each loss, t of those with t < K; T where nothing is cut."""
        K = self.truncation
        return length if length <= K else K * length - K * (K - 1) // 2


@dataclass(frozen=True)
class Windowed(Segmented):
    """Every k1 steps, inject the last k1 losses and go back k2 steps (Williams & Peng 1990, BPTT(h; h')).

    Each loss counts once and keeps k2-k1+1 to k2 lags. Where T is no multiple of k1 the last window is the one that
    would have ended later, without what is not there, so that k1 = k2 is `Chunked` at every length.

    Attributes:
        k1: steps between two backward passes.
        truncation: k2, the steps of each.
    """

    name: ClassVar[str] = "windowed"
    k1: int
    truncation: int

    def __post_init__(self) -> None:
        super().__post_init__()
        check_truncation(self.truncation)
        if not 1 <= self.k1 <= self.truncation:
            raise ConfigurationError(
                f"scheme.k1={self.k1}: must be a whole number from 1 to k2 = truncation = {self.truncation}, "
                "or some losses would reach back less than to their own step"
            )

    def segments(self, length: int) -> list[tuple[int, int, int]]:
        begins, overlap = range(0, length, self.k1), self.truncation - self.k1
        return [(max(0, begin - overlap), min(begin + self.k1, length), begin) for begin in begins]


@dataclass(frozen=True)
class Chunked(Segmented):
    """Windows of K steps that do not overlap, the state carried, the cotangent cut: what frameworks do (Sutskever
    2013).

    With one loss at the end it keeps ((T - 1 - offset) mod K) + 1 lags: what it leaves out hangs on where windows
    begin.

    Attributes:
        truncation: K.
        offset: steps before the second window, where it is not K; 0 <= offset < K.
    """

    name: ClassVar[str] = "chunked"
    truncation: int
    offset: int = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        check_truncation(self.truncation)
        if not 0 <= self.offset < self.truncation:
            raise ConfigurationError(
                f"scheme.offset={self.offset}: must be a whole number from 0 to {self.truncation - 1}, below truncation"
            )

    def segments(self, length: int) -> list[tuple[int, int, int]]:
        begins = [*([0] if self.offset > 0 else []), *range(self.offset, length, self.truncation)]
        return [(begin, end, begin) for begin, end in zip(begins, [*begins[1:], length], strict=True)]


class ManyPlans(Scheme):
    """A scheme that is an ensemble of plans."""

    @abstractmethod
    def ensemble(self, length: int, batch: int, rng: np.random.Generator | None) -> Ensemble:
        """The plans for sequences of T steps, of which there are `batch`."""


@dataclass(frozen=True)
class ChunkedMean(ManyPlans):
    """Chunks of K steps, averaged over all K places where the first may begin.

    Of a path of l steps l of the K places cut it: the mean gradient keeps the part 1 - l/K of G_l, as does the mean of
    the per-loss truncations at 1, ..., K.
    """

    name: ClassVar[str] = "chunked_mean"
    truncation: int

    def __post_init__(self) -> None:
        super().__post_init__()
        check_truncation(self.truncation)

    def ensemble(self, length: int, batch: int, rng: np.random.Generator | None) -> Ensemble:
        """Nothing is drawn. Places beyond the end of the sequence cut nothing and are one plan."""
        K, t = self.truncation, np.arange(1, length + 1)
        offsets = np.arange(min(K, length))
        cut = t % K == offsets[:, None]
        weight = np.full(len(offsets), 1.0 / K)
        weight[0] = (1 + K - len(offsets)) / K
        return Ensemble(np.where(cut, 0.0, 1.0)[..., None], weight, drawn=False)


@dataclass(frozen=True)
class Random(ManyPlans):
    """Cut between t and t+1 with probability c_t, or else carry 1/(1 - c_t): unbiased (ARTBP, Tallec & Ollivier 2017).

    Attributes:
        truncation: K, the mean number of steps between two cuts (of the published probability, about).
        cuts: "constant" probability 1/K, or the "published" one, (alpha - 1) / ((alpha - 2) K + n) at n steps since the
            last cut (their section on the choice of c_t): the lengths between cuts then have tails of power alpha.
        alpha: of the published one, above 2; 4 in the paper.
        per: whether every "sequence" of a "batch" is cut at steps of its own.
        draws: how many plans are drawn, >= 2.
    """

    name: ClassVar[str] = "random"
    truncation: int
    cuts: Literal["constant", "published"] = "constant"
    alpha: float = 4.0
    per: Literal["sequence", "batch"] = "sequence"
    draws: int = 32

    def __post_init__(self) -> None:
        super().__post_init__()
        check_truncation(self.truncation)
        if self.truncation < 2:
            raise ConfigurationError(f"truncation={self.truncation}: random cuts need a mean of 2 steps or more")
        if not 2.0 < self.alpha < np.inf:
            raise ConfigurationError(f"scheme.alpha={self.alpha}: must be a number above 2")
        check_draws(self.draws)

    def probability(self, since: Array) -> Array:
        """c_t at so many steps since the last cut, from 1."""
        if self.cuts == "constant":
            return np.full(since.shape, 1.0 / self.truncation)
        return (self.alpha - 1.0) / ((self.alpha - 2.0) * self.truncation + since)

    def ensemble(self, length: int, batch: int, rng: np.random.Generator | None) -> Ensemble:
        if rng is None:
            raise ConfigurationError(f"rng=None: scheme '{self.name}' needs a numpy.random.Generator")
        return Ensemble(self.carries(length, batch, self.draws, rng), np.full(self.draws, 1.0 / self.draws), drawn=True)

    def carries(self, length: int, batch: int, draws: int, rng: np.random.Generator) -> Array:
        """Drawn forward in time: whether there is a cut may depend on the last one.  (draws, T, B), or (draws, T, 1)"""
        columns = batch if self.per == "sequence" else 1
        carry = np.ones((length, draws, columns))
        since = np.ones((draws, columns))
        for t in range(length - 1):
            c = self.probability(since)
            cut = rng.random(since.shape) < c
            carry[t] = np.where(cut, 0.0, 1.0 / (1.0 - c))
            since = np.where(cut, 1.0, since + 1.0)
        return carry.swapaxes(0, 1)

    def draw(self, length: int, rng: np.random.Generator, batch: int = 1) -> Plan:
        """One plan, for `bptt.backward`."""
        return full_plan(length, self.carries(length, batch, 1, rng)[0])


@dataclass(frozen=True)
class Adaptive(Scheme):
    """Per loss, as far back as a bias of at most delta needs by the estimate of Aicher, Foti & Fox 2019 (`decay`).

    Attributes:
        truncation: the longest that is tried; the estimate looks at the lags below it.
        delta: the relative bias that is tolerated.
    """

    name: ClassVar[str] = "adaptive"
    truncation: int
    delta: float = 0.1

    def __post_init__(self) -> None:
        super().__post_init__()
        check_truncation(self.truncation)
        if not 0.0 < self.delta < np.inf:
            raise ConfigurationError(f"scheme.delta={self.delta}: must be a number above 0")


class Forward(Scheme):
    """A gradient that is carried forwards (`forward_mode`), with nothing cut off by a number of steps."""

    truncation: ClassVar[int | None] = None  # type: ignore[misc]

    def check_cell(self, name: str) -> None:  # most can do with any cell
        """Refuses a cell for which the method is not defined."""


@dataclass(frozen=True)
class RTRL(Forward):
    """Real-time recurrent learning: exact (Williams & Zipser 1989)."""

    name: ClassVar[str] = "rtrl"


@dataclass(frozen=True)
class UORO(Forward):
    """The influence as a random matrix of rank one: unbiased (Tallec & Ollivier 2018a).

    Attributes:
        draws: how many gradients are drawn, >= 2.
    """

    name: ClassVar[str] = "uoro"
    draws: int = 32

    def __post_init__(self) -> None:
        super().__post_init__()
        check_draws(self.draws)


@dataclass(frozen=True)
class SnAp(Forward):
    """What a parameter reaches within n steps (Menick et al. 2021).

    Attributes:
        steps: n.
    """

    name: ClassVar[str] = "snap"
    steps: int = 1

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.steps < 1:
            raise ConfigurationError(f"scheme.steps={self.steps}: must be a whole number >= 1")


@dataclass(frozen=True)
class RFLO(Forward):
    """The leak alone is carried (Murray 2019), with the readout's own weights for feedback."""

    name: ClassVar[str] = "rflo"

    def check_cell(self, name: str) -> None:
        if name != "leaky":
            raise ConfigurationError(f"scheme=rflo: carries the leak of cell=leaky; must not be asked of '{name}'")


def check_draws(draws: int) -> None:
    if draws < 2:
        raise ConfigurationError(f"scheme.draws={draws}: must be a whole number >= 2")


def named_schemes() -> dict[str, type[Scheme]]:
    """The schemes that a configuration may name."""
    known: dict[str, type[Scheme]] = {}
    kinds = [Scheme]
    while kinds:
        kind = kinds.pop(0)
        kinds += kind.__subclasses__()
        if "name" in vars(kind):
            known[kind.name] = kind
    return known


def check_truncation(truncation: int) -> None:
    if truncation < 1:
        raise ConfigurationError(f"truncation={truncation}: must be a whole number >= 1, or full")
