"""How fast Jacobian products grow or decay at each sweep point, over networks."""

from __future__ import annotations

import numpy as np
import pandas as pd

from bpttlab.tables.frame_arguments import takes_frames
from bpttlab.tables.points import networks, require_columns
from bpttlab.tables.regimes import count_regimes, network_regimes, point_regimes
from bpttlab.tables.statistics import count_networks, group_rows, median, numbers, with_interval


@takes_frames
def growth(runs: pd.DataFrame) -> pd.DataFrame:
    """One row per sweep point: growth over the sequence and its regime, the asymptotic rate, horizons, theory.

    `log_growth` = log(||P_{T,0}||_F / sqrt N) is the growth over the whole sequence. `regime` names its interval
    (`regimes.regime`), or says that there is none or that all networks diverged. `regimes_of_networks` counts the
    regimes of the single networks. `growth_rate` is different: it is the slope in lag after the transient, the final
    rate at which products grow or decay.

    Medians are over networks; `_low` and `_high` are the 95 % interval of the median by order statistics (NA below six
    networks). A point at which no network was asked for its growth has no row. `networks` counts the measured networks,
    `fitted` those with a finite growth rate, `vanished` those whose product over the sequence is zero, `underflowed`
    those with derivatives of activations below the range of floats (a zero of theirs may be a very small number),
    `growing_none` those that never rose above e, `vanishing_censored` those still at or above 1/e at the end. Diverged
    and failed networks are counted and take no part in any median.

    Columns: those of the point (task, initializer, initializer_target, initializer_requested, sequence_length and all
    else that varies except seed, scheme and truncation), then those above. Logarithms are natural, rates are per step
    (docs/tables.md, Summaries).
    """
    require_columns(runs, "log_growth", "growing_horizon", "vanishing_horizon", "horizon_censored")
    rows, by = networks(runs)
    rows = _select_asked(rows, by)
    keys, group = group_rows(rows, by)
    own = network_regimes(rows["status"], numbers(rows["log_growth"]))
    done = rows["status"] == "done"
    measured = _mask_unfinished(rows, done)
    table = keys.assign(
        networks=count_networks(done, group),
        fitted=count_networks(np.isfinite(measured["growth_rate"]), group),
        diverged=count_networks(rows["status"] == "diverged", group),
        failed=count_networks(rows["status"] == "failed", group),
        vanished=count_networks(measured["log_growth"] == -np.inf, group),
        underflowed=count_networks(_underflows(rows) > 0, group),
        **with_interval(measured, group, "log_growth"),
    )
    return table.assign(
        regime=point_regimes(table),
        regimes_of_networks=own.groupby(group).agg(count_regimes).astype(object),
        **with_interval(measured, group, "growth_rate"),
        growing_horizon=_growing_horizon(measured, group),
        growing_none=count_networks(_find_not_growing(measured), group),
        vanishing_horizon=median(measured["vanishing_horizon"], group),
        vanishing_censored=count_networks(done & (numbers(rows["horizon_censored"]) == 1), group),
        asymptote_rate=median(measured["asymptote_rate"], group),
        bound_rate=median(measured["bound_rate"], group),
        mean_field_rate=median(measured["mean_field_rate"], group),
    ).reset_index(drop=True)


def _underflows(rows: pd.DataFrame) -> pd.Series:
    """Derivatives below the range of floats; none if the frame lacks the column."""
    return numbers(rows["underflows"]).fillna(0) if "underflows" in rows else pd.Series(0.0, index=rows.index)


_THEORY = ("asymptote_rate", "bound_rate", "mean_field_rate")
_VALUES = ("growth_rate", "log_growth", "growing_horizon", "vanishing_horizon", *_THEORY)


def _mask_unfinished(rows: pd.DataFrame, done: pd.Series) -> pd.DataFrame:
    """The measured columns as floats, NA where the run is not done."""
    return pd.DataFrame({name: numbers(rows[name]).where(done) for name in _VALUES if name in rows}).reindex(
        columns=list(_VALUES)
    )


def _select_asked(rows: pd.DataFrame, by: list[str]) -> pd.DataFrame:
    """The rows of points at which the growth of some network was measured, or at which one diverged or failed."""
    there = (rows["status"] != "done") | rows[["log_growth", "growth_rate", "vanishing_horizon"]].notna().any(axis=1)
    return rows[there.groupby(group_rows(rows, by)[1]).transform("any")].reset_index(drop=True)


def _find_not_growing(measured: pd.DataFrame) -> pd.Series:
    """Whether a network, if its products were measured at all, has none above e."""
    return measured["growing_horizon"].isna() & measured["vanishing_horizon"].notna()


def _growing_horizon(measured: pd.DataFrame, group: pd.Series) -> pd.Series:
    """The median first lag above e, where "never" counts as later than every lag; NA if the median network never
    exceeds e.
    """
    found = median(-measured["growing_horizon"].mask(_find_not_growing(measured), np.inf), group)
    return (-found).replace(np.inf, np.nan)
