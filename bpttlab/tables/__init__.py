"""Summaries of a study: frame in, frame out. Only `write` writes files."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

import pandas as pd

from bpttlab import plugins
from bpttlab.errors import LabError
from bpttlab.tables.bias import truncation_bias
from bpttlab.tables.columns import COLUMNS
from bpttlab.tables.costs import along_directions, bias_bounds, costs, has_costs
from bpttlab.tables.critical import critical_spectral_radius
from bpttlab.tables.curves import growth_curves, lag_curves, triangle
from bpttlab.tables.equal_cost import equal_cost
from bpttlab.tables.export import export_table, refuse_other_form, write
from bpttlab.tables.frame_arguments import takes_frames
from bpttlab.tables.growth import growth
from bpttlab.tables.headline import format_headline, headline
from bpttlab.tables.latex import latex, put_hashes_last
from bpttlab.tables.points import find_varying, label_points, point_columns, rows_at_points
from bpttlab.tables.printing import describe_shared, explain_shown, fill, format_table
from bpttlab.tables.regimes import REGIMES
from bpttlab.tables.selection import choose_columns, choose_rows_where
from bpttlab.tables.spectra import (
    block_curves,
    eigenvalue_points,
    exponents,
    finite_time_distribution,
    has_exponents,
    sensitivity_curves,
    singular_value_curves,
    spectrum_curves,
)
from bpttlab.tables.success import has_training, solution_times, success, success_curves
from bpttlab.tables.sufficient import sufficient_truncation
from bpttlab.tables.table import SummaryTable
from bpttlab.tables.theory import theory
from bpttlab.tables.training_curves import training_curves
from bpttlab.tables.updates import choose_updates, has_updates, paired, training_pairs, updates
from bpttlab.tables.writing import csv, markdown, present

__all__ = [
    "COLUMNS",
    "REGIMES",
    "StudyTables",
    "Summaries",
    "SummaryTable",
    "along_directions",
    "bias_bounds",
    "block_curves",
    "choose_columns",
    "choose_rows",
    "choose_rows_where",
    "choose_updates",
    "costs",
    "critical_spectral_radius",
    "csv",
    "describe_shared",
    "eigenvalue_points",
    "equal_cost",
    "explain_shown",
    "exponents",
    "export_table",
    "fill",
    "find_caption",
    "find_sentences",
    "find_varying",
    "finite_time_distribution",
    "for_summaries",
    "format_headline",
    "format_table",
    "growth",
    "growth_curves",
    "has_costs",
    "has_exponents",
    "has_training",
    "has_updates",
    "headline",
    "label_points",
    "lag_curves",
    "latex",
    "main_parameter",
    "markdown",
    "paired",
    "point_columns",
    "present",
    "put_hashes_last",
    "refuse_other_form",
    "rows_at_points",
    "sensitivity_curves",
    "singular_value_curves",
    "solution_times",
    "spectrum_curves",
    "success",
    "success_curves",
    "sufficient_truncation",
    "summaries",
    "theory",
    "training_curves",
    "training_pairs",
    "triangle",
    "truncation_bias",
    "updates",
    "write",
]


class StudyTables(Protocol):
    """The tables of a loaded study, with the configuration of each run joined."""

    @property
    def runs(self) -> pd.DataFrame: ...
    @property
    def jacobians(self) -> pd.DataFrame: ...
    @property
    def blocks(self) -> pd.DataFrame: ...
    @property
    def spectra(self) -> pd.DataFrame: ...
    @property
    def finite_time(self) -> pd.DataFrame: ...
    @property
    def singular_values(self) -> pd.DataFrame: ...
    @property
    def eigenvalues(self) -> pd.DataFrame: ...
    @property
    def sensitivity(self) -> pd.DataFrame: ...
    @property
    def lag_terms(self) -> pd.DataFrame: ...
    @property
    def truncations(self) -> pd.DataFrame: ...
    @property
    def bias_bounds(self) -> pd.DataFrame: ...
    @property
    def provenance(self) -> pd.DataFrame: ...


@takes_frames
def choose_rows(name: str, table: pd.DataFrame) -> pd.DataFrame:
    """The rows to show if all would be too many: the schemes that were run, and W if there are parameters."""
    if name == "theory":
        return table[table["rate"].notna()].reset_index(drop=True)
    if name in ("sufficient_truncation", "costs", "equal_cost", "bias_bounds"):
        return table[table["parameter"] == main_parameter(table)].reset_index(drop=True)
    if name != "truncation_bias":
        return table
    of_it = table["parameter"] == main_parameter(table)
    chosen = table[of_it & (table["origin"] == "scheme") & table["truncation"].notna()]
    return table if chosen.empty else chosen.reset_index(drop=True)


@takes_frames
def main_parameter(table: pd.DataFrame) -> str:
    """The parameter to show if only one can be shown: W, or that of the first layer, or the first by name."""
    names = sorted(set(table["parameter"])) if "parameter" in table else []
    recurrent = [name for name in names if name.startswith("W")]
    return next(iter(["W"] * ("W" in names) + recurrent + names), "W")


class Summaries(dict[str, pd.DataFrame]):
    """The summaries of a study by name; `failed` has the error of each one of a user's own that could not be made."""

    def __init__(self, made: Mapping[str, pd.DataFrame], failed: Mapping[str, str]) -> None:
        super().__init__(made)
        self.failed = dict(failed)

    def __repr__(self) -> str:
        """The names of the tables and their numbers of rows."""
        rows = ", ".join(f"{name} {len(frame)}" for name, frame in self.items())
        failed = f"; not made: {', '.join(self.failed)}" if self.failed else ""
        return f"Summaries(rows: {rows or 'none'}{failed})"


def summaries(study: StudyTables) -> Summaries:
    """The summary tables of a study by name.

    headline, growth and, if the study has them, sufficient_truncation, critical_spectral_radius,
    truncation_bias, costs, equal_cost, along_directions, bias_bounds, exponents, theory, updates, paired and success;
    then a user's own.

    Raises LabError for a study without runs.
    """
    if study.runs.empty:
        raise LabError("the study has no runs: there is nothing to summarise")
    narrow = for_summaries(study)
    shipped = {name: table.summarise(narrow) for name, table in plugins.find_shipped("table").items()}
    own, failed = {}, {}
    for choice in plugins.own_choices():
        if choice.kind == "table":
            try:
                own[choice.name] = make_own(choice.value, study)
            except LabError as error:
                failed[choice.name] = str(error)
    made = {name: frame for name, frame in {**shipped, **own}.items() if not frame.empty}
    return Summaries(made or {"growth": shipped["growth"]}, failed)


def find_caption(name: str, frame: pd.DataFrame) -> list[str]:
    """The caption of a summary of `summaries` by its name; none of another table."""
    return list(_find_table(name).caption(frame)) if not frame.empty else []


def find_sentences(name: str, frame: pd.DataFrame) -> list[str]:
    """What the chosen rows of a summary say, in words (`choose_rows`); nothing of another table."""
    chosen = choose_rows(name, frame)
    return list(_find_table(name).sentences(chosen)) if not chosen.empty else []


def _find_table(name: str) -> SummaryTable:
    """The summary of this name, shipped or a user's own; of another table one that says nothing."""
    own = {choice.name: choice.value for choice in plugins.own_choices() if choice.kind == "table"}
    none = SummaryTable(name, lambda study: pd.DataFrame())
    return plugins.find_shipped("table").get(name) or own.get(name, none)


def for_summaries(study: StudyTables, run_id: str | None = None) -> StudyTables:
    """A loaded study without what no shipped summary or figure reads; another object with tables as it is.

    Args:
        run_id: a run that keeps all its rows.
    """
    whole = [] if run_id is None else [run_id]
    narrow: StudyTables = study.for_summaries(_JOINED, whole=whole) if hasattr(study, "for_summaries") else study
    return narrow


_JOINED = ("sequence_length",)
"""The columns of runs that summaries read in tables of measures; they take all others from `runs`."""


def make_own(table: SummaryTable, study: StudyTables) -> pd.DataFrame:
    """A summary of a user's own; empty if the study has not the tables that it is made of.

    Raises:
        LabError: one of its functions raises another exception, or it returns no frame; the message has file and line.
    """
    try:
        frame = table.summarise(study)
        if not isinstance(frame, pd.DataFrame):
            raise TypeError(f"summarise returns a {type(frame).__name__}: must be a pandas DataFrame")
        [*table.caption(frame), *table.sentences(frame)]
    except LabError:
        return pd.DataFrame()
    except Exception as error:
        raise LabError(plugins.describe_failure(table, error)) from error
    return frame
