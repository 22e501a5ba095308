"""The summaries that come with bpttlab, in the order in which they are printed: of which tables each is made."""

from __future__ import annotations

from typing import Any

import pandas as pd

from bpttlab import tables
from bpttlab.tables.critical import describe_brackets
from bpttlab.tables.headline import describe_headline
from bpttlab.tables.regimes import describe_regimes
from bpttlab.tables.success import describe_success
from bpttlab.tables.sufficient import describe_sufficient, tell_sufficient
from bpttlab.tables.table import SummaryTable
from bpttlab.tables.updates import describe_paired

_NOTHING = pd.DataFrame()


def _truncation_bias(study: Any) -> pd.DataFrame:
    return _NOTHING if study.truncations.empty else tables.truncation_bias(study.truncations, study.runs)


def _sufficient_truncation(study: Any) -> pd.DataFrame:
    return _NOTHING if study.truncations.empty else tables.sufficient_truncation(study.truncations, study.runs)


def _costs(study: Any) -> pd.DataFrame:
    return tables.costs(study.truncations, study.runs, study.provenance) if _has_costs(study) else _NOTHING


def _equal_costs(study: Any) -> pd.DataFrame:
    return tables.equal_cost(study.truncations, study.runs, study.provenance) if _has_costs(study) else _NOTHING


def _along_directions(study: Any) -> pd.DataFrame:
    return tables.along_directions(study.truncations, study.runs) if _has_costs(study) else _NOTHING


def _has_costs(study: Any) -> bool:
    """Whether the variance or the seconds of some scheme were measured."""
    return not study.truncations.empty and tables.has_costs(study.truncations, study.provenance)


def _bias_bounds(study: Any) -> pd.DataFrame:
    if study.truncations.empty or study.bias_bounds.empty:
        return _NOTHING
    return tables.bias_bounds(study.bias_bounds, study.truncations, study.runs)


def _exponents(study: Any) -> pd.DataFrame:
    return tables.exponents(study.runs) if tables.has_exponents(study.runs) else _NOTHING


def _headline(study: Any) -> pd.DataFrame:
    growth = tables.growth(study.runs)
    return tables.headline(growth) if growth[["growth_rate", "log_growth"]].notna().any(axis=None) else _NOTHING


def _updates(study: Any) -> pd.DataFrame:
    return tables.updates(study.runs) if tables.has_updates(study.runs) else _NOTHING


def _paired(study: Any) -> pd.DataFrame:
    return tables.paired(study.runs) if tables.has_updates(study.runs) else _NOTHING


def _success(study: Any) -> pd.DataFrame:
    return tables.success(study.runs) if tables.has_training(study.runs) else _NOTHING


_PRODUCTS = "a finished run that measured Jacobian products (measure=standard)"
_SCHEMES = "the variance or the seconds of a scheme (scheme=uoro, random, chunked_mean, or measure.scheme_seconds=true)"
_TRUNCATED = "a finished run that measured truncated gradients, with a K below T - 1"

_HEADLINE = SummaryTable("headline", _headline, describe_headline, needs=_PRODUCTS)
_GROWTH = SummaryTable("growth", lambda study: tables.growth(study.runs), describe_regimes, needs=_PRODUCTS)
_SUFFICIENT_TRUNCATION = SummaryTable(
    "sufficient_truncation", _sufficient_truncation, describe_sufficient, tell_sufficient, _TRUNCATED
)
_CRITICAL = SummaryTable(
    "critical_spectral_radius",
    lambda study: tables.critical_spectral_radius(study.runs),
    describe_brackets,
    needs="networks of one seed with growth rates at two spectral radii or more (spectral_radius=0.8,1.2)",
)
_TRUNCATION_BIAS = SummaryTable("truncation_bias", _truncation_bias, needs=_TRUNCATED)
_COSTS = SummaryTable("costs", _costs, needs=_SCHEMES)
_EQUAL_COST = SummaryTable("equal_cost", _equal_costs, needs=_SCHEMES)
_ALONG_DIRECTIONS = SummaryTable(
    "along_directions",
    _along_directions,
    needs="derivatives along directions of schemes that draw (measure.log_scale=true or measure.signed_bias=UNITS)",
)
_BIAS_BOUNDS = SummaryTable("bias_bounds", _bias_bounds, needs="a finished run of scheme=adaptive")
_EXPONENTS = SummaryTable("exponents", _exponents, needs="Lyapunov exponents (measure=spectra)")
_THEORY = SummaryTable("theory", lambda study: tables.theory(study.runs), needs="a finished run")
_MONITORED = "networks measured at several updates of their training (lab.Monitor, docs/monitor.md)"
_UPDATES = SummaryTable("updates", _updates, needs=_MONITORED)
_PAIRED = SummaryTable(
    "paired",
    _paired,
    describe_paired,
    needs=f"{_MONITORED}: one network at two updates or more, with the same label, seed, sizes and T",
)
_SUCCESS = SummaryTable(
    "success", _success, describe_success, needs="networks that a sweep trained (training=standard)"
)
