"""What each column of a summary is called in print, in what unit, and what it means."""

from __future__ import annotations

from typing import NamedTuple

INTERVAL = "[95 %]"


class Column(NamedTuple):
    """A summary column as people read it."""

    header: str
    unit: str
    meaning: str


COLUMNS = {
    "task": Column("task", "", "the task's name"),
    "cell": Column("cell", "", "the cell's name"),
    "initializer": Column("initializer", "", "how W is drawn"),
    "initializer_target": Column(
        "asked for", "", "what the initializer states: spectral_radius, gain or scale; measured_radius: no W is drawn"
    ),
    "initializer_asked": Column("asked", "", "the value asked for; of measured_radius rho, median, to 4 digits"),
    "sequence_length": Column("T", "step", "sequence length"),
    "networks": Column("networks", "", "distinct networks measured: the n of medians and intervals"),
    "fitted": Column("fitted", "networks", "networks with a growth rate"),
    "diverged": Column("diverged", "networks", "networks whose forward state overflowed"),
    "failed": Column("failed", "networks", "networks whose runs all failed"),
    "vanished": Column("vanished", "networks", "networks whose product over the whole sequence is exactly zero"),
    "growth_rate": Column("growth rate", "nat/step", "slope of the typical log-norm in lag, median over networks"),
    "regime": Column("regime", "", "vanishing, critical, exploding or undecided, from the interval of rate * T"),
    "growing_horizon": Column(
        "grows past e", "lag", "first lag with ||P|| above e, median; NA where the median never does"
    ),
    "growing_none": Column("never grows", "networks", "networks whose ||P|| stays at or below e up to T"),
    "vanishing_horizon": Column("keeps 1/e", "lag", "last lag with ||P|| at or above 1/e, median; at most T"),
    "vanishing_censored": Column(
        "kept to T", "networks", "networks with ||P|| at or above 1/e at lag T: horizon censored"
    ),
    "log_growth": Column("growth over T", "nat", "log(||P_{T,0}||_F / sqrt N), median over networks"),
    "asymptote_rate": Column("log rho", "nat/step", "growth rate of a linear network"),
    "bound_rate": Column("log gamma sigma", "nat/step", "upper bound of the rate, from the largest singular value"),
    "mean_field_rate": Column(
        "mean field", "nat/step", "rate of a wide network of the same gain; NA outside its range"
    ),
    "determinant_rate": Column(
        "log det", "nat/step", "the mean of all exponents, from the determinants of W and slopes"
    ),
    "mean_exponent": Column("mean exponent", "nat/step", "mean of all exponents, median over networks"),
    "overlay": Column(
        "theory", "", "which statement of theory: bound, asymptote, mean_field, determinant, origin, cell_path"
    ),
    "within": Column("within", "networks", "networks for which it holds"),
    "rate": Column("rate", "nat/step", "the rate by that theory, median over networks"),
    "residual": Column("residual", "nat/step", "measured minus theory, median over networks"),
    "outside": Column("outside", "", "why it does not hold, of most of the others"),
    "autonomous": Column("autonomous", "networks", "networks without any input"),
    "zero": Column("zero", "networks", "networks with an exponent of -inf: no direction is left"),
    "lyapunov_exponent": Column(
        "exponent", "nat/step", "largest Lyapunov exponent (conditional where there is input), median over networks"
    ),
    "origin_radius": Column("radius at 0", "", "spectral radius of J at the origin, median over networks"),
    "jacobian_radius": Column("radius of J", "", "median spectral radius of J_t, median over networks"),
    "trajectory_radius": Column("exp exponent", "", "radius per step along the trajectory, median over networks"),
    "kaplan_yorke_dimension": Column("dimension", "", "Kaplan-Yorke dimension of autonomous networks, median"),
    "entropy_bound": Column("entropy bound", "nat/step", "sum of positive exponents of autonomous networks, median"),
    "origin": Column("origin", "", "scheme: the run's own; wavefront: read off the lag terms of the same run"),
    "scheme": Column("scheme", "", "truncation scheme"),
    "truncation": Column("K", "step", "truncation length; NA is the full gradient"),
    "length": Column("length", "step", "length of the prefix"),
    "parameter": Column("parameter", "", "parameter the gradient is taken of"),
    "exact": Column("exact", "networks", "networks whose bias is exactly zero (log -inf)"),
    "log_relative_bias": Column("log bias", "nat", "log of ||g_K - g|| / ||g||, median over networks"),
    "cosine": Column("cosine", "", "cosine of g_K with g, median over networks"),
    "log_norm": Column("log norm", "nat", "log ||g_K||, median over networks"),
    "steps_computed": Column("cost", "step", "products of a Jacobian with a vector, of one gradient, median"),
    "reach": Column("K used", "step", "K as it was used, median: of adaptive it is another for each network"),
    "log_variance": Column("log variance", "nat", "trace of the covariance over draws or offsets / ||g||^2, median"),
    "log_bias_noise": Column("log noise", "nat", "of sqrt(variance / draws): the noise of the measured bias, median"),
    "log_relative_error": Column(
        "log error", "nat", "of sqrt(bias^2 + variance), relative to ||g||, median over networks"
    ),
    "log_minibatch_variance": Column("log batch var", "nat", "variance of g over batches of as many sequences, median"),
    "draws": Column("draws", "", "gradients drawn; NA: nothing is drawn"),
    "scheme_seconds": Column("time", "s", "one gradient by the scheme, median"),
    "cost": Column("cost in", "", "steps_computed or scheme_seconds"),
    "budget": Column("budget", "", "the most that gradients may take together, in steps or seconds"),
    "averaged": Column("mean of", "gradients", "draws or offsets that the budget buys; of a scheme of one plan one"),
    "log_error_behind": Column(
        "behind", "nat", "log error minus that of the scheme with the smallest median: median over networks, in pairs"
    ),
    "standing": Column(
        "standing", "", "best: below every other scheme by the interval over networks; worse: above some other one"
    ),
    "log_bias_bound": Column(
        "log bound", "nat", "bound on the bias (Aicher, Foti & Fox), median where it says anything"
    ),
    "bounded": Column("bounded", "networks", "networks whose bound says something"),
    "log_bias_estimate": Column("log estimate", "nat", "their estimate of the bias, median where it says anything"),
    "estimated": Column("estimated", "networks", "networks whose estimate says something"),
    "above": Column("above bound", "networks", "networks whose exact bias is above the bound"),
    "below": Column("above estimate", "networks", "networks whose exact bias is above the estimate"),
    "wrong": Column("wrong sign", "networks", "networks whose derivative along the direction has the wrong sign"),
    "relative_derivative": Column(
        "derivative", "", "along the direction, relative to the full one; weighted mean over networks"
    ),
    "one_draw": Column("one draw", "", "standard deviation of it from one draw to the next, median"),
    "one": Column("one", "networks", "networks with one sign change of the growth rate"),
    "none": Column("none", "networks", "networks with no sign change in the range swept"),
    "several": Column("several", "networks", "networks with several sign changes"),
    "critical": Column(
        "critical radius", "", "spectral radius of zero growth, median over networks with one sign change"
    ),
    "bracket_low": Column("bracket from", "", "lower end of the bracket of the sign change, median"),
    "bracket_high": Column("bracket to", "", "upper end of the bracket of the sign change, median"),
    "lowest": Column("swept from", "", "smallest radius swept"),
    "highest": Column("swept to", "", "largest radius swept"),
}


def header(name: str) -> str:
    """The column's name in print with its unit: "growth rate (nats/step)"; an unknown column keeps its own name."""
    column = COLUMNS.get(name, Column(name, "", ""))
    return f"{column.header} ({column.unit})" if column.unit else column.header
