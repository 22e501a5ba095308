"""The best gradient of each scheme at equal cost, and the best scheme, over networks.

A budget pays for one gradient of a scheme that has one plan. For a scheme that draws (`random`, `uoro`, the offsets of
`chunked_mean`) it pays for as many gradients as fit, and their mean has less variance. Schemes are compared network by
network, so that differences between networks do not hide differences between schemes.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from bpttlab.numerics.array import Array
from bpttlab.numerics.verdicts import median_of
from bpttlab.tables.costs import COSTS, log_error, network_costs
from bpttlab.tables.frame_arguments import takes_frames
from bpttlab.tables.statistics import group_rows, numbers, reported_median

BEST, UNDECIDED, WORSE, ONLY = "best", "not told apart", "worse", "only one"
_EXACT = 1e-9
"""Relative errors up to this are equal: they are rounding."""
_SLACK = 1.0 + 1e-9
"""A cost may be above a budget by this factor, which is rounding of a multiple of it."""


class Candidates(NamedTuple):
    """The gradients that schemes can give at one point, of one parameter.

    Attributes:
        keys: a row for each: scheme, its fields and K.
        measured: by column (candidates, networks), NaN if a network lacks it.
    """

    keys: pd.DataFrame
    measured: dict[str, Array]

    @classmethod
    def of(cls, rows: pd.DataFrame, by: Sequence[str]) -> Candidates:
        """rows: `network_costs` of one point and parameter; by: the columns that tell schemes and K apart."""
        keys, number = group_rows(rows, by)
        codes, networks = pd.factorize(rows["network_id"])
        measured = {}
        for name in ("log_relative_bias", "log_variance", "draws", "reach", *COSTS):
            measured[name] = np.full((len(keys), len(networks)), np.nan)
            measured[name][number, codes] = numbers(rows[name])
        return cls(keys.reset_index(drop=True), measured)

    def cost_of_one(self, cost: str) -> Array:
        """The cost of one gradient of each, median over networks; NaN if it is unknown or zero."""
        found = np.array([median_of(drop_nan(row)).value for row in self.measured[cost]])
        return np.where(found > 0, found, np.nan)

    def errors(self, averaged: Array) -> Array:
        """log of the error of the mean of `averaged` gradients of each.  (candidates,) -> (candidates, networks)"""
        own = self.measured
        return log_error(own["log_relative_bias"], own["log_variance"], own["draws"], own["reach"], averaged[:, None])


@takes_frames
def equal_cost(
    truncations: pd.DataFrame, runs: pd.DataFrame | None = None, provenance: pd.DataFrame | None = None
) -> pd.DataFrame:
    """The best gradient of each scheme for a budget of steps or seconds: one row per point, parameter, cost
    ("steps_computed", "scheme_seconds"), budget and scheme.

    Budgets are 1, 2, 5, 10, 20, ... times the cost of the cheapest gradient of the point, up to that of the dearest. A
    row has the scheme's `truncation` and `reach` with the smallest median error among those whose single gradient fits
    into the budget. `averaged` is the number of gradients that the budget pays for: their mean has sqrt(bias^2 +
    variance / averaged). For `chunked_mean` different offsets are averaged, K of which have no variance. A scheme of
    one plan gives one gradient. A scheme whose single gradient costs more has no row.

    `log_relative_error` is a median over networks; `_low` and `_high` are its 95 % interval by order statistics (NA
    below six networks). `log_error_behind` is the median, over networks, of the log error minus that of the scheme with
    the smallest median, with its interval. `standing` compares each two schemes by that interval: "best" lies below
    every other scheme, "worse" above some other one, everything else is "not told apart"; "only one" has no rival.
    Errors up to 1e-9 are equal. Each interval holds for its pair, not for all pairs at once.

    truncations, runs, provenance: as in `costs`.
    """
    rows, by = network_costs(truncations, runs, provenance)
    inside = by[by.index("scheme") : by.index("parameter")]
    point = [name for name in by if name not in inside]
    parts = []
    for _, own in rows.groupby(point, dropna=False) if len(rows) else ():
        found = Candidates.of(own, inside)
        parts += [_with_point(own[point], _best_within_budgets(found, cost)) for cost in COSTS]
    columns = [*point, "cost", "budget", *inside, *_MEASURED]
    parts = [part for part in parts if len(part)]
    return pd.concat(parts, ignore_index=True)[columns] if parts else pd.DataFrame(columns=columns)


ENDS = ("", "_low", "_high")
_MEASURED = (
    *("networks", "reach", "averaged"),
    *(f"log_relative_error{end}" for end in ENDS),
    *(f"log_error_behind{end}" for end in ENDS),
    "standing",
)


def _with_point(point: pd.DataFrame, rows: pd.DataFrame) -> pd.DataFrame:
    """Rows with their point, of which the first row says what it is, in front."""
    return pd.concat([point.iloc[[0] * len(rows)].reset_index(drop=True), rows], axis=1)


def _best_within_budgets(candidates: Candidates, cost: str) -> pd.DataFrame:
    """The best gradient of each scheme within each budget."""
    spent = candidates.cost_of_one(cost)
    usable = np.isfinite(spent) & ~np.isnan(candidates.errors(np.ones(len(spent)))).all(axis=1)
    rows: list[int] = []
    measured: dict[str, list[Any]] = {name: [] for name in ("budget", *_MEASURED)}
    for budget in budgets(spent[usable]):
        averaged = gradients_within(candidates, spent, budget)
        errors = candidates.errors(np.maximum(averaged, 1.0))
        chosen = _best_of_each(candidates, np.flatnonzero(usable & (averaged > 0)), errors, spent)
        found = _compare_errors(errors[chosen])
        found |= {"budget": [budget] * len(chosen), "averaged": averaged[chosen].astype(int).tolist()}
        found["reach"] = [median_of(drop_nan(candidates.measured["reach"][number])).value for number in chosen]
        rows += chosen
        for name, values in found.items():
            measured[name] += values
    table = candidates.keys.iloc[rows].reset_index(drop=True).assign(cost=cost)
    return pd.concat([table, pd.DataFrame(measured)], axis=1).astype({"networks": "Int64", "averaged": "Int64"})


def gradients_within(candidates: Candidates, spent: Array, budget: float) -> Array:
    """The number of gradients of each candidate within a budget: for a scheme that draws as many as fit, for others
    one.
    """
    fit = np.floor(budget * _SLACK / np.where(np.isnan(spent), np.inf, spent))
    varies = ~np.isnan(candidates.measured["log_variance"]).all(axis=1)
    places = candidates.measured["reach"].max(axis=1, initial=0.0, where=~np.isnan(candidates.measured["reach"]))
    drawn = ~np.isnan(candidates.measured["draws"]).all(axis=1)
    return np.where(drawn, fit, np.minimum(fit, np.where(varies, np.maximum(places, 1.0), 1.0)))


def _best_of_each(candidates: Candidates, within: Array, errors: Array, spent: Array) -> list[int]:
    """The candidate of each scheme with the smallest median error, the cheapest of equal ones."""
    median = {number: median_of(drop_nan(errors[number])).value for number in within}
    order = sorted(within.tolist(), key=lambda number: (median[number], spent[number], number))
    schemes, best = candidates.keys["scheme"].tolist(), dict[str, int]()
    for number in order:
        best.setdefault(schemes[number], number)
    return [best[name] for name in sorted(best)]


def _compare_errors(errors: Array) -> dict[str, list[Any]]:
    """The gradient of each scheme: its error, its difference from the best, its standing.  (schemes, networks)"""
    medians, floored = [reported_median(drop_nan(row))[:3] for row in errors], np.maximum(errors, np.log(_EXACT))
    leader = floored[int(np.argmin([median for median, _, _ in medians]))]
    found: dict[str, list[Any]] = {"networks": (~np.isnan(errors)).sum(axis=1).tolist(), "standing": standings(floored)}
    behind = [reported_median(drop_nan(row - leader))[:3] for row in floored]
    for column, rows in (("log_relative_error", medians), ("log_error_behind", behind)):
        found |= {f"{column}{end}": list(values) for end, values in zip(ENDS, zip(*rows, strict=True), strict=True)}
    return found


def standings(errors: Array) -> list[str]:
    """Of each scheme against all others, by the interval of the paired difference.  (schemes, networks)"""
    if len(errors) == 1:
        return [ONLY]
    beats = np.array([[median_of(drop_nan(other - one)).low > 0.0 for other in errors] for one in errors])
    others = len(errors) - 1
    won, lost = beats.sum(axis=1), beats.sum(axis=0)
    return [BEST if wins == others else WORSE if losses else UNDECIDED for wins, losses in zip(won, lost, strict=True)]


def drop_nan(values: Array) -> Array:
    """Without NaN."""
    return values[~np.isnan(values)]


def budgets(spent: Array) -> list[float]:
    """1, 2, 5, 10, ... times the least that is spent, the last one no less than the most."""
    if not len(spent):
        return []
    steps: list[float] = []
    for power in range(12):
        steps += [float(spent.min()) * step * 10.0**power for step in (1.0, 2.0, 5.0)]
    enough = next((place for place, step in enumerate(steps) if step >= spent.max()), len(steps) - 1)
    return steps[: enough + 1]
