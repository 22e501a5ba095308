"""The summaries that come with bpttlab, in the order in which they are printed: of which tables each is made."""

from __future__ import annotations

from typing import Any

import pandas as pd

from bpttlab import tables
from bpttlab.tables.critical import describe_brackets
from bpttlab.tables.regimes import describe_regimes
from bpttlab.tables.sufficient import describe_sufficient, tell_sufficient
from bpttlab.tables.table import SummaryTable

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


_HEADLINE = SummaryTable("headline", _headline, describe_regimes)
_GROWTH = SummaryTable("growth", lambda study: tables.growth(study.runs), describe_regimes)
_SUFFICIENT_TRUNCATION = SummaryTable(
    "sufficient_truncation", _sufficient_truncation, describe_sufficient, tell_sufficient
)
_CRITICAL = SummaryTable(
    "critical_spectral_radius", lambda study: tables.critical_spectral_radius(study.runs), describe_brackets
)
_TRUNCATION_BIAS = SummaryTable("truncation_bias", _truncation_bias)
_COSTS = SummaryTable("costs", _costs)
_EQUAL_COST = SummaryTable("equal_cost", _equal_costs)
_ALONG_DIRECTIONS = SummaryTable("along_directions", _along_directions)
_BIAS_BOUNDS = SummaryTable("bias_bounds", _bias_bounds)
_EXPONENTS = SummaryTable("exponents", _exponents)
_THEORY = SummaryTable("theory", lambda study: tables.theory(study.runs))
