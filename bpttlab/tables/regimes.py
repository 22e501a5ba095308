"""Regimes: growth over a whole sequence in one word, of one network and of all networks of a sweep point.

The word depends on log_growth = log(||P_{T,0}||_F / sqrt N) only. The asymptotic rate of products is another number:
transients and a finite T can differ from it. The regime of one network is a fact about it. The regime of a point is a
statement about all networks that could be drawn there, and follows from the interval of their median.
"""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
import pandas as pd

from bpttlab.numerics.verdicts import LEAST_NETWORKS
from bpttlab.tables.points import MEASURED_RADIUS, has_files

REGIMES = ("vanishing", "exploding", "critical", "undecided")
E_FOLD = 1.0
"""Nats: a product that changed by less than a factor e over the sequence is critical."""

NO_INTERVAL, DIVERGED, FAILED, NOT_MEASURED = "no interval", "diverged", "failed", "not measured"
"""Why a point has no regime: too few networks, or none that has a growth."""

_ORDER = (*REGIMES, DIVERGED, FAILED, NOT_MEASURED)

OF_POINT = (
    "regime: 95 % interval of growth over T < -1 nat vanishing, > 1 exploding, in [-1, 1] critical, else undecided"
)
OF_NETWORK = "growth over T of a network < -1 nat vanishing, > 1 exploding, else critical"
"""The thresholds, for captions."""


def regime(low: Any, high: Any) -> np.ndarray:
    """The regime of each interval [low, high] of log_growth.

    vanishing: high < -1; exploding: low > 1; critical: all of it within [-1, 1]; undecided: any other; no interval:
    an end is missing (NaN).
    """
    low, high = np.asarray(low, np.float64), np.asarray(high, np.float64)
    missing = np.isnan(low) | np.isnan(high)
    conditions = [missing, high < -E_FOLD, low > E_FOLD, (low >= -E_FOLD) & (high <= E_FOLD)]
    return np.select(conditions, [NO_INTERVAL, *REGIMES[:3]], default=REGIMES[3])


def point_regimes(table: pd.DataFrame) -> np.ndarray:
    """The regime of each point of the summary `growth`; diverged or failed where no network has a growth."""
    found = regime(table["log_growth_low"], table["log_growth_high"])
    nothing = (table["networks"] == 0).to_numpy(dtype=bool)
    ended = [nothing & (table[name] > 0).to_numpy(dtype=bool) for name in (DIVERGED, FAILED)]
    return np.select(ended, [DIVERGED, FAILED], default=found)


def network_regimes(status: pd.Series, log_growth: pd.Series) -> pd.Series:
    """The regime of each network: of its own growth, as a fact; or its status, or that it was not measured."""
    own = pd.Series(regime(log_growth, log_growth), index=status.index).replace(NO_INTERVAL, NOT_MEASURED)
    return own.where(status == "done", status)


def count_regimes(regimes: pd.Series) -> str:
    """How many networks have each regime: "6 vanishing, 2 critical"."""
    found = Counter(regimes)
    return ", ".join(f"{found[word]} {word}" for word in _ORDER if found[word])


def describe_shortage(table: pd.DataFrame) -> list[str]:
    """What points without an interval lack, and the words of a sweep that add it; nothing where each point has one.

    Args:
        table: the summary `growth` or `headline`.
    """
    few = table[(table["regime"] == NO_INTERVAL) & (table["networks"] > 0)]
    if few.empty:
        return []
    if has_files(few):
        pools = "" if (few["networks"] > 1).any() else "; with networks=path files are the networks of one point"
        return [f"{_count_networks(few)}{pools}"]
    measured = few["initializer_target"].eq(MEASURED_RADIUS).fillna(False).astype(bool).all()
    lost = few["regimes_of_networks"].str.contains(f"{DIVERGED}|{FAILED}|{NOT_MEASURED}").any()
    remedy = "" if measured else "; sweep more seeds" if lost else "; sweep seed=range(0,8)"
    return [f"{_count_networks(few)}{remedy}"]


def _count_networks(few: pd.DataFrame) -> str:
    """How many networks points without an interval have."""
    counts = sorted(set(few["networks"].astype(int)))
    many = str(counts[0]) if len(counts) == 1 else f"{counts[0]} to {counts[-1]}"
    noun = "network" if counts == [1] else "networks"
    needs = "" if counts == [1] else f" (it needs {LEAST_NETWORKS})"
    return f"{many} {noun}: no interval over networks{needs}"


def describe_thresholds(table: pd.DataFrame) -> list[str]:
    """What the regimes of points mean, if any has one."""
    return [OF_POINT] if table["regime"].isin(REGIMES).any() else []


def describe_regimes(table: pd.DataFrame) -> list[str]:
    """The caption of a summary with regimes: what is lacking, and the thresholds."""
    return [*describe_shortage(table), *describe_thresholds(table), f"by network: {OF_NETWORK}"]
