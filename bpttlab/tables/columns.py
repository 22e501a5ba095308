"""The columns of summaries: printed name, unit, meaning, statistic and interval."""

from __future__ import annotations

from typing import NamedTuple

from bpttlab.escapes import escape_line
from bpttlab.numerics.verdicts import LEAST_NETWORKS

FEW = f"n < {LEAST_NETWORKS}"
"""What print has in place of an interval by order statistics where there are too few networks for one."""


class Interval(NamedTuple):
    """An interval of a value: `shown` stands in the header, `missing` in a cell without an interval.

    `infinite` is the word for an infinite value or end, if these are integers.
    """

    shown: str
    meaning: str
    missing: str = ""
    infinite: str = ""


BY_ORDER = Interval("median [95 %, order statistics]", "95 %, of this median, by order statistics", FEW)
BY_LENGTHS = Interval("median [95 %, order statistics]", "95 %, of this median, by order statistics", FEW, "none")
BY_BRACKETS = Interval("interpolated [95 %, brackets]", "95 %, by order statistics of the brackets' ends", FEW)
BY_SHARE = Interval("share [95 %, Clopper-Pearson]", "95 %, of this share, by Clopper and Pearson", FEW)
BY_CENSORED = Interval(
    "median [95 %, order statistics]",
    "95 %, of this median, by order statistics; an unsolved network counts at the low end as solved at its last "
    "update, and at the high end as never solved",
    FEW,
    "none",
)
BY_DRAWS = Interval("mean [95 %, over draws]", "95 %, normal, from the variance over draws; none: nothing is drawn")

KEY, COUNT, MEDIAN = "names the row", "count of networks", "median over networks"


class SummaryColumn(NamedTuple):
    """A summary column for readers: its printed name and unit, its meaning, its statistic and its interval.

    The interval belongs to the summaries in which the column has `_low` and `_high`.
    """

    header: str
    unit: str
    meaning: str
    of: str = MEDIAN
    interval: Interval = BY_ORDER


POINT = {
    "task": SummaryColumn("task", "", "the task's name", KEY),
    "cell": SummaryColumn("cell", "", "the cell's name", KEY),
    "initializer": SummaryColumn("initializer", "", "how W is drawn", KEY),
    "initializer_target": SummaryColumn(
        "quantity",
        "",
        "what the initializer states: spectral_radius, gain or scale; measured_radius: no W is drawn; file: all "
        "networks are from files",
        KEY,
    ),
    "initializer_requested": SummaryColumn(
        "value requested",
        "",
        "of the quantity; of measured_radius rho, median over networks, to 4 digits; of file its place, from 1",
        KEY,
    ),
    "cell_label": SummaryColumn(
        "network", "", "name of a network from a file, or of one in training; only if there are some", KEY
    ),
    "update": SummaryColumn("update", "", "optimizer steps before the measurement; only of networks in training", KEY),
    "data_file": SummaryColumn("file", "", "name of the task's file; only if there are several", KEY),
    "matrix_file": SummaryColumn("W", "", "name of the initializer's file; only if there are several", KEY),
    "sequence_length": SummaryColumn("T", "step", "sequence length", KEY),
}

NETWORKS = {
    "networks": SummaryColumn(
        "networks", "", "different networks measured; a median is over those that have the value", COUNT
    ),
    "fitted": SummaryColumn("fitted", "networks", "networks with a finite asymptotic rate", COUNT),
    "diverged": SummaryColumn(
        "diverged", "networks", "networks whose forward state overflowed; in no median and in no interval", COUNT
    ),
    "failed": SummaryColumn(
        "failed", "networks", "networks whose runs all failed; in no median and in no interval", COUNT
    ),
}

_GROWTH = {
    "vanished": SummaryColumn(
        "vanished", "networks", "networks whose product over the sequence is zero (log -inf)", COUNT
    ),
    "underflowed": SummaryColumn(
        "underflowed",
        "networks",
        "networks with derivatives of activations below the range of floats; a zero of theirs may be a number that is "
        "too small",
        COUNT,
    ),
    "log_growth": SummaryColumn(
        "growth over T", "nat", "growth over the sequence: log(||P_{T,0}||_F / sqrt N); -inf: the product is zero"
    ),
    "regime": SummaryColumn(
        "regime",
        "",
        "from the interval of log_growth: vanishing (upper end < -1), exploding (lower end > 1), critical (all of it "
        "within [-1, 1]), else undecided; no interval: fewer than 6 networks; diverged, failed: so did all networks",
        "interval of log_growth",
    ),
    "regimes_of_networks": SummaryColumn(
        "by network",
        "",
        "how many networks have which regime, each by its own log_growth: vanishing (< -1), exploding (> 1), else "
        "critical; and how many diverged, failed or were not measured",
        "every network",
    ),
    "growth_rate": SummaryColumn(
        "asymptotic rate",
        "nat/step",
        "least-squares slope in lag of log(||P||_F / sqrt N), over the lags from measure.fit_from T to T (default "
        "0.2 T)",
    ),
    "growing_horizon": SummaryColumn(
        "grows past e",
        "lag",
        "growing_horizon of runs: first lag with ||P||_2 above e; a network that never grows counts as later than all "
        "lags; NA: half of the networks or more never grow",
    ),
    "growing_none": SummaryColumn(
        "never grows", "networks", "networks whose ||P||_2 stays at or below e up to T", COUNT
    ),
    "vanishing_horizon": SummaryColumn(
        "keeps 1/e",
        "lag",
        "vanishing_horizon of runs: last lag with ||P||_2 at or above 1/e; a network that is still there at lag T "
        "counts as T",
    ),
    "vanishing_censored": SummaryColumn(
        "kept to T", "networks", "networks with ||P||_2 at or above 1/e at lag T: their horizon is T or more", COUNT
    ),
    "horizon": SummaryColumn(
        "horizon", "lag", "growing_horizon where log_growth > 0, else vanishing_horizon if below T"
    ),
    "asymptote_rate": SummaryColumn("log rho", "nat/step", "theory: rate of a linear network with this W"),
    "bound_rate": SummaryColumn("log gamma sigma", "nat/step", "theory: log(gamma sigma_max), which no rate exceeds"),
    "mean_field_rate": SummaryColumn(
        "mean field", "nat/step", "theory: rate of a wide network of the same gain; NA outside its range"
    ),
}

_CRITICAL = {
    "one": SummaryColumn(
        "one", "networks", "networks whose asymptotic rate changes its sign once in the range swept", COUNT
    ),
    "none": SummaryColumn("none", "networks", "networks whose rate has one sign at all radii swept", COUNT),
    "several": SummaryColumn("several", "networks", "networks with several sign changes", COUNT),
    "critical": SummaryColumn(
        "critical radius",
        "",
        "spectral radius of rate zero, on the straight line between the two ends of a bracket; NA if the rate of "
        "a network is -inf at an end of its bracket",
        "median over networks with one sign change",
        BY_BRACKETS,
    ),
    "bracket_low": SummaryColumn(
        "bracket from",
        "",
        "largest radius swept below the sign change; of an even number of networks the lower of the middle two",
        "median over networks with one sign change",
    ),
    "bracket_high": SummaryColumn(
        "bracket to",
        "",
        "smallest radius swept above the sign change; of an even number of networks the higher of the middle two",
        "median over networks with one sign change",
    ),
    "lowest": SummaryColumn("swept from", "", "smallest radius swept", "minimum over networks"),
    "highest": SummaryColumn("swept to", "", "largest radius swept", "maximum over networks"),
}

SCHEMES = {
    "origin": SummaryColumn("origin", "", "scheme: the run's own; wavefront: from the lag terms of the same run", KEY),
    "scheme": SummaryColumn("scheme", "", "truncation scheme", KEY),
    "truncation": SummaryColumn("K", "step", "truncation length; NA is the full gradient", KEY),
    "length": SummaryColumn("length", "step", "length of the prefix, if it is not T", KEY),
    "parameter": SummaryColumn("parameter", "", "parameter of the gradient, or direction in words", KEY),
    "exact": SummaryColumn("exact", "networks", "networks whose bias is exactly zero (log -inf)", COUNT),
    "log_relative_bias": SummaryColumn("log bias", "nat", "log(||g_K - g|| / ||g||)"),
    "cosine": SummaryColumn("cosine", "", "cosine of g_K with g; networks in which one of them is zero have none"),
    "log_norm": SummaryColumn("log norm", "nat", "log ||g_K||"),
    "steps_computed": SummaryColumn(
        "cost",
        "step",
        "products of a Jacobian with a vector for one gradient; for adaptive with those of the choice of K",
    ),
}

_COSTS = {
    "reach": SummaryColumn("K used", "step", "K as it was used; for adaptive it differs between networks"),
    "log_variance": SummaryColumn(
        "log variance", "nat", "log(trace of the covariance over draws or offsets / ||g||^2)"
    ),
    "log_bias_noise": SummaryColumn("log noise", "nat", "log sqrt(variance / draws): the noise of the measured bias"),
    "log_relative_error": SummaryColumn(
        "log error",
        "nat",
        "log sqrt(bias^2 + variance), relative to ||g||; in equal_cost of the mean of averaged gradients",
    ),
    "log_minibatch_variance": SummaryColumn(
        "log batch var", "nat", "log variance of g over batches of as many sequences"
    ),
    "draws": SummaryColumn("draws", "", "gradients drawn; NA: the scheme does not draw"),
    "scheme_seconds": SummaryColumn("time", "s", "one gradient by the scheme"),
    "cost": SummaryColumn("cost in", "", "what the budget counts: steps_computed or scheme_seconds", KEY),
    "budget": SummaryColumn(
        "budget",
        "",
        "largest cost of all gradients together, in steps or seconds: 1, 2, 5, 10, ... times the cheapest gradient",
        KEY,
    ),
    "averaged": SummaryColumn(
        "mean of", "gradients", "draws or offsets within the budget; one for a scheme of one plan", "every network"
    ),
    "log_error_behind": SummaryColumn(
        "behind",
        "nat",
        "log_relative_error minus that of the scheme with the smallest median; errors up to 1e-9 are equal",
        "median over networks, of differences within networks",
    ),
    "standing": SummaryColumn(
        "standing",
        "",
        "against every other scheme within the budget: best (below all of them), worse (above one of them), not told "
        "apart, or only one",
        "intervals of differences within networks, 95 % for each pair",
    ),
    "log_bias_bound": SummaryColumn(
        "log bound", "nat", "bound on the bias (Aicher, Foti & Fox)", "median over the networks counted in bounded"
    ),
    "bounded": SummaryColumn("bounded", "networks", "networks with a finite bound", COUNT),
    "log_bias_estimate": SummaryColumn(
        "log estimate", "nat", "their estimate of the bias", "median over the networks counted in estimated"
    ),
    "estimated": SummaryColumn("estimated", "networks", "networks with an estimate", COUNT),
    "above": SummaryColumn(
        "above bound", "networks", "networks whose exact bias is above the bound by more than 1e-9 in the log", COUNT
    ),
    "below": SummaryColumn(
        "above estimate", "networks", "networks whose exact bias is above the estimate by more than 1e-9", COUNT
    ),
    "wrong": SummaryColumn(
        "wrong sign", "networks", "networks whose derivative along the direction has the wrong sign", COUNT
    ),
    "relative_derivative": SummaryColumn(
        "derivative",
        "",
        "derivative along the direction over the full one; 1 is right, below 0 the sign is wrong",
        "mean over networks, weighted by their full derivative",
        BY_DRAWS,
    ),
    "one_draw": SummaryColumn("one draw", "", "standard deviation of that derivative from one draw to the next"),
}

_AT_LEAST_HALF = "median over networks, the higher of the middle two: half of them or more need no longer K"

_SUFFICIENT = {
    "lengths_measured": SummaryColumn(
        "K measured", "", "how many different K below T - 1 were measured", "all networks of the point"
    ),
    "longest": SummaryColumn("longest K", "step", "the longest K measured", "maximum over networks"),
    "sufficient_5_percent": SummaryColumn(
        "K for 5 %",
        "step",
        "smallest K from which on every K measured has a relative bias of 5 % or less; inf, in print none: no K "
        "measured below T - 1 has",
        _AT_LEAST_HALF,
        BY_LENGTHS,
    ),
    "sufficient_1_percent": SummaryColumn("K for 1 %", "step", "the same for 1 %", _AT_LEAST_HALF, BY_LENGTHS),
}

_SPECTRA = {
    "autonomous": SummaryColumn("autonomous", "networks", "networks without any input", COUNT),
    "zero": SummaryColumn("zero", "networks", "networks with an exponent of -inf", COUNT),
    "lyapunov_exponent": SummaryColumn(
        "exponent", "nat/step", "largest Lyapunov exponent (conditional with input), a mean over time"
    ),
    "determinant_rate": SummaryColumn(
        "log det", "nat/step", "theory: the mean of all exponents, from the determinant of W and the activation"
    ),
    "mean_exponent": SummaryColumn("mean exponent", "nat/step", "mean of all exponents of a network"),
    "origin_radius": SummaryColumn("radius at 0", "", "spectral radius of J at the origin"),
    "jacobian_radius": SummaryColumn("radius of J", "", "median over time of the spectral radius of J_t"),
    "trajectory_radius": SummaryColumn(
        "exp exponent", "", "exp lyapunov_exponent: the radius per step along the trajectory"
    ),
    "kaplan_yorke_dimension": SummaryColumn(
        "dimension", "", "Kaplan-Yorke dimension", "median over the networks counted in autonomous"
    ),
    "entropy_bound": SummaryColumn(
        "entropy bound", "nat/step", "sum of positive exponents", "median over the networks counted in autonomous"
    ),
}

_THEORY = {
    "overlay": SummaryColumn(
        "theory", "", "statement of theory: bound, asymptote, mean_field, determinant, origin or cell_path", KEY
    ),
    "within": SummaryColumn("within", "networks", "networks for which it holds", COUNT),
    "rate": SummaryColumn("rate", "nat/step", "the rate by that theory"),
    "residual": SummaryColumn("residual", "nat/step", "measured minus theory; 0: both are -inf"),
    "outside": SummaryColumn("outside", "", "why it does not hold", "most common reason among the other networks"),
}

_UPDATES = {
    "training_loss": SummaryColumn("training loss", "", "the loop's own loss, of its own batch"),
    "training_log_gradient_norm": SummaryColumn(
        "log gradient", "nat", "log norm of the gradient of the loop's own loss, of the network's parameters"
    ),
    "loss": SummaryColumn("loss", "", "loss of the probe; NA without targets"),
    "rho": SummaryColumn("rho", "", "spectral radius of W, or of the first recurrent block"),
    "first_update": SummaryColumn("from update", "", "the first update that was measured", "maximum over networks"),
    "last_update": SummaryColumn("to update", "", "the last update that was measured", "minimum over networks"),
    "quantity": SummaryColumn("what", "", "a column of runs", KEY),
    "unpaired": SummaryColumn(
        "unpaired",
        "networks",
        "networks with one measured update, or of which the first or the last one failed or diverged; in no median",
        COUNT,
    ),
    "before": SummaryColumn("before", "", "at the first update"),
    "after": SummaryColumn("after", "", "at the last update"),
    "before_censored": SummaryColumn(
        "kept to T before", "networks", "networks whose horizon before is T or more: a lower limit", COUNT
    ),
    "after_censored": SummaryColumn(
        "kept to T after", "networks", "networks whose horizon after is T or more: a lower limit", COUNT
    ),
    "difference": SummaryColumn(
        "difference", "", "after minus before; 0: both are -inf", "median of the differences within networks"
    ),
    "rose": SummaryColumn("rose", "networks", "networks whose difference is above 0", COUNT),
}

_SUCCESS = {
    "solved": SummaryColumn("solved", "networks", "networks that learnt the task", COUNT),
    "training_diverged": SummaryColumn(
        "diverged in training", "networks", "networks whose training diverged before; they count as never solved", COUNT
    ),
    "success_rate": SummaryColumn(
        "success rate", "", "share of the networks that learnt the task", "share of networks", BY_SHARE
    ),
    "updates_to_solution": SummaryColumn(
        "updates to solution",
        "",
        "first check at which the Kaplan-Meier estimate of the unsolved share is 1/2 or less; networks that were not "
        "solved are censored at their last update; inf, in print none: it lies beyond the end of training",
        "median over networks",
        BY_CENSORED,
    ),
    "trained_for": SummaryColumn("trained for", "updates", "updates of a network", "maximum over networks"),
}

COLUMNS = {
    **POINT,
    **NETWORKS,
    **_GROWTH,
    **_CRITICAL,
    **SCHEMES,
    **_SUFFICIENT,
    **_COSTS,
    **_SPECTRA,
    **_THEORY,
    **_UPDATES,
    **_SUCCESS,
}


def header(name: str) -> str:
    """The column's name in print with its unit: "growth over T (nat)"; an unknown column keeps its own name."""
    column = COLUMNS.get(name, SummaryColumn(escape_line(name), "", ""))
    return f"{column.header} ({column.unit})" if column.unit else column.header


def header_with_interval(name: str) -> str:
    """The same with the statistic and the interval: "growth over T (nat), median [95 %, order statistics]"."""
    kind = COLUMNS[name].interval.shown if name in COLUMNS else "[low, high]"
    return f"{header(name)}, {kind}"


def infinite_word(name: str) -> str:
    """The word for an infinite value of a column of integers; nothing for other columns."""
    return COLUMNS[name].interval.infinite if name in COLUMNS else ""


def without_interval(name: str) -> str:
    """The text for a missing interval: "[n < 6]", or nothing."""
    missing = COLUMNS[name].interval.missing if name in COLUMNS else ""
    return f"[{missing}]" if missing else ""
