"""Studies made of formulas: frames as a store loads them, with growth rates that are known beforehand.

A network's growth rate is `slope(rho)` + its own offset; offsets of the seeds lie evenly around 0, so that medians
and means over networks are the slope itself. Products grow by it from a level that a transient reaches; lag terms
follow; truncation biases are the tails of the lag terms. With `spectra`, exponents lie evenly below that rate.
"""

from __future__ import annotations

import itertools
import json
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from hashlib import blake2b
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd

from bpttlab.store import schema
from tests.support import spectral

SPREAD = 0.004  # between the rates of two neighbouring seeds
SHIFT = 0.05  # growth is zero at log rho = SHIFT
SIZE = 32


def slope(radius: float) -> float:
    """log rho less a shift: zero growth at rho = e^SHIFT."""
    return math.log(radius) - SHIFT


def saturating(radius: float) -> float:
    """As `slope`, with growth held back above zero as a tanh network's is."""
    rate = slope(radius)
    return rate if rate < 0 else 0.3 * rate


@dataclass(frozen=True)
class Design:
    """What a synthetic study sweeps."""

    radii: Sequence[float] = (0.5, 0.9, 1.0, 1.1, 1.5)
    lengths: Sequence[int] = (10, 50, 200)
    tasks: Sequence[str] = ("noise",)
    seeds: int = 4
    truncations: Sequence[str] = ("full", "5", "20")
    schemes: Sequence[str] = ("per_loss",)
    initializer: str = "gaussian_radius"
    target: str = "spectral_radius"
    rate: Callable[[float], float] = slope
    zero_from: int | None = None  # the lag from which products of the smallest radius are exactly zero
    triangle: bool = False
    spectra: bool = False  # whether there are exponents, and the tables of `spectral`
    cells: Sequence[str] = ("elman",)
    parts: Sequence[str] = ("h", "c")  # of the state of every cell but elman
    flat: bool = False  # whether everything of `spectral` is exactly zero


class Study(SimpleNamespace):
    """Frames by name; most tests read some of them, so a table is made when it is first read."""

    def __getattr__(self, name: str) -> pd.DataFrame:
        if name not in schema.TABLES:
            raise AttributeError(name)
        setattr(self, name, self.make_table(name))
        return vars(self)[name]


def frames_of(study: SimpleNamespace) -> dict[str, Any]:
    """The name of a study and all of its frames, to be changed."""
    return {name: getattr(study, name) for name in ("name", *schema.TABLES)}


def study(design: Design | None = None, **changes: object) -> Study:
    """The frames of a study: name, runs, jacobians, lag_terms, truncations, each with the configuration joined."""
    design = replace(design or Design(), **changes)
    swept = (design.tasks, design.radii, design.lengths, design.truncations, range(design.seeds), design.schemes)
    runs = pd.DataFrame([_run(design, *point) for point in itertools.product(*swept, design.cells)])
    runs = runs.drop_duplicates("run_id").sort_values("run_id", ignore_index=True)
    runs["truncation"] = runs["truncation"].astype("string")
    runs["horizon_censored"] = runs["horizon_censored"].astype("boolean")
    for name in ("growing_horizon", "vanishing_horizon", "first_bad_step"):
        runs[name] = runs[name].astype("Int64")
    if design.spectra:
        runs = spectral.with_exponents(runs, design, SIZE)
    made = {name: make for name, make in TABLES.items() if design.spectra or name not in spectral.TABLES}

    def make_table(name: str) -> pd.DataFrame:
        if name in made:
            return _joined(runs, made[name], design)
        return schema.frame(schema.TABLES[name].schema.empty_table())

    return Study(name="synthetic", runs=runs, make_table=make_table)


def _identity(*parts: object) -> str:
    return blake2b(json.dumps(parts).encode(), digest_size=16).hexdigest()


def _run(
    design: Design, task: str, radius: float, length: int, truncation: str, seed: int, scheme: str, cell: str
) -> dict[str, object]:
    full = truncation == "full"
    rate = design.rate(radius) + _offset(seed, design)
    log_growth = _log_norm(rate, length)
    zero = design.zero_from is not None and radius == min(design.radii) and length >= design.zero_from
    growing = [lag for lag in range(length + 1) if _log_norm(rate, lag) + 0.3 > 1]
    kept = [lag for lag in range(length + 1) if _log_norm(rate, lag) + 0.3 >= -1]
    return {
        "run_id": _identity(task, radius, length, truncation, seed, scheme, design.initializer, cell),
        "network_id": _identity(radius, seed, design.initializer, cell),
        "status": "done",
        "error": pd.NA,
        "first_bad_step": pd.NA,
        "seed": seed,
        "spectral_radius": radius if design.target == "spectral_radius" else np.nan,
        "sequence_length": length,
        "truncation": truncation,
        "batch_size": 8,
        "dtype": "float64",
        "reduction": "mean",
        "engine": "numpy",
        "cell": cell,
        "cell_hidden_size": SIZE,
        "cell_activation": "tanh",
        "task": task,
        "task_input_size": {"noise": 4, "adding": 2}.get(task, 1),
        "scheme": "full" if full and scheme == "per_loss" else scheme,
        "initializer": design.initializer,
        f"initializer_{design.target}": radius,
        "configuration": "{}",
        "initializer_target": design.target,
        "initializer_requested": radius,
        "initializer_realized": radius,
        "rho": radius if design.target != "gain" else radius * (1 + 0.01 * seed),
        "sigma_max": 1.9 * radius,
        "growth_rate": -np.inf if zero else rate,
        "growth_rate_error": 1e-3,
        "log_growth": -np.inf if zero else log_growth,
        "growing_horizon": growing[0] if growing else pd.NA,
        "vanishing_horizon": kept[-1],
        "horizon_censored": kept[-1] == length,
        "asymptote_rate": math.log(radius),
        "bound_rate": math.log(1.9 * radius),
        "mean_field_rate": rate + 0.01 if task == "noise" else np.nan,
        "asymptote_residual": -np.inf if zero else rate - math.log(radius),
    }


def _offset(seed: Any, design: Design) -> Any:
    return SPREAD * (seed - (design.seeds - 1) / 2)


def _log_norm(rate: float, lag: float | np.ndarray) -> float | np.ndarray:
    """Typical log-norm at a lag: the rate's line after a transient that costs 0.4 nats."""
    return rate * lag - 0.4 * (1 - np.exp(-np.asarray(lag) / 3.0))


def lags_of(length: int) -> np.ndarray:
    """0, 1, 2, ... then log-spaced up to the length."""
    return np.unique(np.concatenate([[0], np.geomspace(1, length, 24).round().astype(int)]))


def _jacobians(run: pd.Series, design: Design) -> pd.DataFrame:
    length, rate = int(run["sequence_length"]), run["log_rate"]
    triangle = design.triangle and run["seed"] == 0 and length <= 60
    ends = range(1, length + 1) if triangle else [length]
    pairs = [(t, lag) for t in ends for lag in (range(t + 1) if triangle else lags_of(length))]
    rows = pd.DataFrame(
        [(sequence, t, lag) for sequence in range(3) for t, lag in pairs], columns=["sequence", "t", "lag"]
    )
    wobble = 0.1 * (rows["sequence"] - 1) * (rows["lag"] > 0)
    if triangle:
        wobble = wobble + 0.4 * (np.sin(rows["t"] / 4.0) - np.sin((rows["t"] - rows["lag"]) / 4.0))
    typical = _log_norm(rate, rows["lag"].to_numpy()) + wobble
    rows["log_spectral_norm"] = typical + 0.9 * (1 - np.exp(-rows["lag"] / 2.0))
    rows["log_frobenius_norm"] = typical
    rows["log_bound"] = rows["lag"] * run["bound_rate"]
    if design.zero_from is not None and run["requested"] == min(design.radii):
        rows.loc[rows["lag"] >= design.zero_from, ["log_spectral_norm", "log_frobenius_norm"]] = -np.inf
    return rows


def _terms(run: pd.Series) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Lags, log_norm of the lag terms summed over losses, and their shares of the gradient."""
    length = int(run["sequence_length"])
    lags = np.arange(length)
    log_norm = run["log_rate"] * lags + np.log1p(-lags / length) - 2.0
    share = np.exp(log_norm - log_norm.max()) * (1 + 0.3 * np.cos(lags))
    return lags, log_norm, share / share.sum()


def _lag_terms(run: pd.Series, design: Design) -> pd.DataFrame:
    lags, log_norm, share = _terms(run)
    kept = np.isin(lags, lags_of(int(run["sequence_length"])))
    columns = {
        "lag": lags[kept],
        "log_norm": log_norm[kept],
        "log_norm_per_loss": (log_norm - np.log(lags.size - lags))[kept],
        "share": share[kept],
        "cumulative_share": np.cumsum(share)[kept],
    }
    return pd.concat([pd.DataFrame({"parameter": name, **columns}) for name in ("W", "V", "b_h")], ignore_index=True)


def _truncations(run: pd.Series, design: Design) -> pd.DataFrame:
    length = int(run["sequence_length"])
    grid = [k for k in (1, 2, 5, 10, 20, 50, 100) if k < length] + [length]
    terms, own = _terms(run), None if run["truncation"] == "full" else int(run["truncation"])
    rows = [_truncated(length, terms, "wavefront", "per_loss", k, name) for name in ("W", "V", "b_h") for k in grid]
    rows += [_truncated(length, terms, "scheme", run["scheme"], own, name) for name in ("W", "V", "b_h")]
    frame = pd.DataFrame(rows)
    return frame.assign(truncation=frame["truncation"].astype("Int64"))


def _truncated(
    length: int, terms: tuple[np.ndarray, ...], origin: str, scheme: str, k: int | None, parameter: str
) -> dict[str, object]:
    _, log_norm, share = terms
    tail = 0.0 if k is None or k >= share.size else share[k:].sum() * (1.5 if scheme == "chunked" else 1.0)
    kept = max(1 - tail, 0.02)
    return {
        "origin": origin,
        "scheme": scheme,
        "truncation": pd.NA if k is None else k,
        "length": length,
        "parameter": parameter,
        "log_norm": float(log_norm.max()) + math.log(kept),
        "cosine": kept / math.hypot(kept, 0.4 * tail),
        "log_relative_bias": math.log(tail) if tail > 0 else -math.inf,
        "log_variance": np.nan,
        "log_minibatch_variance": np.nan,
        "draws": np.nan,
        "steps_computed": length * (k or share.size),
    }


TABLES = {"jacobians": _jacobians, "lag_terms": _lag_terms, "truncations": _truncations, **spectral.TABLES}


def _joined(runs: pd.DataFrame, make: Callable[[pd.Series, Design], pd.DataFrame], design: Design) -> pd.DataFrame:
    """The rows of every run with its configuration joined, the table's own columns first."""
    requested = runs["initializer_requested"]
    facts = runs.assign(log_rate=requested.map(design.rate) + _offset(runs["seed"], design), requested=requested)
    parts = [make(run, design).assign(run_id=run["run_id"]) for _, run in facts.iterrows()]
    rows = pd.concat([part for part in parts if len(part)] or parts, ignore_index=True)
    measured = [
        "error",
        "first_bad_step",
        "configuration",
        "rho",
        "sigma_max",
        "growth_rate",
        "log_growth",
        *spectral.COLUMNS,
    ]
    described = runs.drop(columns=[name for name in [*measured, *rows.columns.drop("run_id")] if name in runs])
    return rows.merge(described, on="run_id")


def diverged(frames: SimpleNamespace, chosen: pd.Series, status: str = "diverged") -> SimpleNamespace:
    """The study with some runs turned into diverged (or failed) rows: nothing measured, no rows elsewhere."""
    runs = frames.runs.copy()
    measured = ["growth_rate", "log_growth", "rho", "asymptote_rate", "bound_rate", "sigma_max", "asymptote_residual"]
    runs.loc[chosen, measured] = np.nan
    runs.loc[chosen, ["growing_horizon", "vanishing_horizon", "horizon_censored"]] = pd.NA
    runs.loc[chosen, "status"] = status
    if status == "failed":
        runs.loc[chosen, ["initializer_target", "initializer_requested", "initializer_realized"]] = pd.NA
    lost = runs.loc[chosen, "run_id"]
    rest = {name: table[~table["run_id"].isin(lost)] for name, table in frames_of(frames).items() if name in TABLES}
    return SimpleNamespace(**{**frames_of(frames), "runs": runs, **rest})
