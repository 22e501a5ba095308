"""The section "Summaries" of docs/tables.md: every column with its meaning, statistic and interval."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from bpttlab.tables.columns import COLUMNS, KEY, POINT, SummaryColumn


class DocumentedSummary(NamedTuple):
    """A summary table.

    Attributes:
        row: the meaning of one row.
        names: its columns in order, separated by spaces, without those of the sweep point, which come first.
        with_interval: the columns that have `_low` and `_high`.
    """

    row: str
    names: str
    with_interval: str = ""

    @property
    def columns(self) -> list[str]:
        return self.names.split()

    @property
    def intervals(self) -> list[str]:
        return self.with_interval.split()


SUMMARIES = {
    "headline": DocumentedSummary(
        "sweep point of the longest sequence: the columns of growth that answer the question",
        "networks growth_rate regime horizon regimes_of_networks",
        "growth_rate",
    ),
    "growth": DocumentedSummary(
        "sweep point: growth over the sequence, and the asymptotic rate",
        "networks fitted diverged failed vanished underflowed log_growth regime regimes_of_networks growth_rate "
        "growing_horizon growing_none vanishing_horizon vanishing_censored asymptote_rate bound_rate mean_field_rate",
        "log_growth growth_rate",
    ),
    "critical_spectral_radius": DocumentedSummary(
        "sweep through the radii, the rest of the point being equal: where the asymptotic rate changes its sign",
        "networks one none several critical bracket_low bracket_high lowest highest",
        "critical",
    ),
    "sufficient_truncation": DocumentedSummary(
        "sweep point, scheme (and field, as far as fields vary) and parameter: which truncation suffices",
        "length scheme parameter networks lengths_measured longest sufficient_5_percent sufficient_1_percent",
        "sufficient_5_percent sufficient_1_percent",
    ),
    "truncation_bias": DocumentedSummary(
        "sweep point, origin, scheme, K and parameter (and field of the scheme, as far as fields vary)",
        "length origin scheme truncation parameter networks exact log_relative_bias cosine log_norm steps_computed",
        "log_relative_bias cosine log_norm",
    ),
    "costs": DocumentedSummary(
        "sweep point, scheme (and field, as far as fields vary), K and parameter or direction",
        "scheme truncation parameter networks exact reach log_relative_bias log_variance log_bias_noise "
        "log_relative_error log_minibatch_variance draws steps_computed scheme_seconds",
    ),
    "equal_cost": DocumentedSummary(
        "sweep point, parameter, cost, budget and scheme: the best gradient that the scheme gives within the budget",
        "parameter cost budget scheme truncation networks reach averaged log_relative_error log_error_behind standing",
        "log_relative_error log_error_behind",
    ),
    "along_directions": DocumentedSummary(
        "sweep point, scheme, K and direction: the truncated derivative along it",
        "scheme truncation parameter networks wrong relative_derivative one_draw",
        "relative_derivative",
    ),
    "bias_bounds": DocumentedSummary(
        "sweep point, parameter and K: the bias of per-loss truncations beside its bound and its estimate",
        "parameter truncation networks log_relative_bias log_bias_bound bounded log_bias_estimate "
        "estimated above below",
    ),
    "exponents": DocumentedSummary(
        "sweep point: the largest Lyapunov exponent and the numbers to compare it with",
        "networks diverged failed autonomous zero lyapunov_exponent growth_rate asymptote_rate "
        "mean_field_rate mean_exponent determinant_rate origin_radius jacobian_radius trajectory_radius "
        "kaplan_yorke_dimension entropy_bound",
        "lyapunov_exponent growth_rate",
    ),
    "theory": DocumentedSummary(
        "sweep point and statement of theory: its rate, and the residual of the measurement",
        "overlay networks within rate residual outside",
        "residual",
    ),
    "updates": DocumentedSummary(
        "sweep point, which includes the update: networks while they are trained (docs/monitor.md)",
        "networks diverged failed training_loss training_log_gradient_norm loss growth_rate vanishing_horizon "
        "vanishing_censored lyapunov_exponent rho",
        "training_loss growth_rate vanishing_horizon lyapunov_exponent rho",
    ),
    "paired": DocumentedSummary(
        "training (a sweep point without its update) and quantity: networks before and after they were trained",
        "quantity networks unpaired first_update last_update before after difference before_censored "
        "after_censored rose",
        "before after difference",
    ),
    "success": DocumentedSummary(
        "training (a sweep point without its update): how many networks learnt their task, and when (docs/training.md)",
        "networks solved training_diverged failed trained_for success_rate updates_to_solution",
        "success_rate updates_to_solution",
    ),
}


def summaries_markdown() -> str:
    """The tables of the section "Summaries" of docs/tables.md."""
    parts = [f"### Every summary\n\nFirst come the columns of the sweep point.\n\n{_table(list(POINT), ())}"]
    for name, summary in SUMMARIES.items():
        parts.append(f"### {name}\n\nOne row per {summary.row}.\n\n{_table(summary.columns, summary.intervals)}")
    return "\n\n".join(parts) + "\n"


def _table(names: Sequence[str], intervals: Sequence[str]) -> str:
    lines = ["| column | in print | unit | what it is | of what | interval |", "|---|---|---|---|---|---|"]
    return "\n".join([*lines, *(_row(name, COLUMNS[name], name in intervals) for name in names)])


def _row(name: str, column: SummaryColumn, has_interval: bool) -> str:
    interval = column.interval.meaning if has_interval else "" if column.of == KEY else "none"
    cells = (f"`{name}`", column.header, column.unit, column.meaning, column.of, interval)
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"
