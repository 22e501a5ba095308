"""Spectra made of formulas: the tables of exponents, products and sensitivity whose numbers are known beforehand.

The exponents of a network lie `GAP` apart below its growth rate (less what its cell costs), the two sequences of a run
`APART` above and below it, the windows of time evenly around it; log singular values are lag times the exponent and
`LEVEL` more. Eigenvalues fill a disc.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pandas as pd

GAP = 0.05
APART = 0.01
LEVEL = 0.7
WINDOWS = 20
SWING = 0.2  # of the windows around the exponent
RESOLUTION = 36.0  # nats between the largest singular value and those that cannot be told
COST = {"elman": 0.0, "gru": 0.1, "lstm": 0.05}
COLUMNS = (
    "origin_radius",
    "jacobian_radius",
    "lyapunov_exponent",
    "trajectory_radius",
    "autonomous",
    "kaplan_yorke_dimension",
    "entropy_bound",
)
PARAMETERS = ("W", "V", "b_h")


def largest(rate: Any, cell: str = "elman") -> Any:
    """The largest exponent of a network of this growth rate."""
    return rate - COST.get(cell, 0.0)


def with_exponents(runs: pd.DataFrame, design: Any, size: int) -> pd.DataFrame:
    """`runs` with the columns of spectra: autonomous with even seeds, driven with odd ones."""
    exponent = runs["growth_rate"] - runs["cell"].map(COST).fillna(0.0)
    exponent = pd.Series(-np.inf, index=runs.index) if design.flat else exponent
    positive = np.maximum(exponent.to_numpy()[:, None] - GAP * np.arange(size), 0.0).sum(axis=1)
    autonomous = runs["seed"] % 2 == 0
    return runs.assign(
        origin_radius=0.9 * runs["initializer_requested"],
        jacobian_radius=0.8 * runs["initializer_requested"],
        lyapunov_exponent=exponent,
        trajectory_radius=np.exp(exponent),
        autonomous=autonomous.astype("boolean"),
        kaplan_yorke_dimension=np.where(autonomous, np.clip(2 * exponent / GAP + 1, 0.0, size), np.nan),
        entropy_bound=np.where(autonomous, positive, np.nan),
        measure_exponents="all",
    )


def _size(run: pd.Series) -> int:
    """Numbers of state: two a unit with an LSTM."""
    return int(run["cell_hidden_size"]) * (2 if run["cell"] == "lstm" else 1)


def _indices(run: pd.Series, design: Any) -> pd.DataFrame:
    """Sequence, index and the exponent there."""
    index = np.arange(1, _size(run) + 1)
    rows = pd.DataFrame({"sequence": np.repeat([0, 1], index.size), "index": np.tile(index, 2)})
    apart = APART * (2 * rows["sequence"] - 1)
    exponent = largest(run["log_rate"], run["cell"]) - GAP * (rows["index"] - 1) + apart
    return rows.assign(exponent=-np.inf if design.flat else exponent)


def spectra(run: pd.Series, design: Any) -> pd.DataFrame:
    rows = _indices(run, design)
    low = (rows["exponent"] - 0.02).where(rows["exponent"] > -1.2, -np.inf)
    return rows.rename(columns={"exponent": "lyapunov_exponent"}).assign(low=low, high=rows["exponent"] + 0.02)


def finite_time(run: pd.Series, design: Any) -> pd.DataFrame:
    steps = int(run["sequence_length"])
    rows = _indices(run, design).query("index <= 2").merge(pd.DataFrame({"window": range(WINDOWS)}), how="cross")
    swing = SWING * np.cos(2 * math.pi * (rows["window"] + 0.3 * run["seed"]) / WINDOWS)
    exponent = rows["exponent"] + swing
    rows = rows.assign(t=(rows["window"] + 1) * steps, finite_time_exponent=exponent, steps=steps)
    return rows.drop(columns=["window", "exponent"])


def singular_values(run: pd.Series, design: Any) -> pd.DataFrame:
    length = int(run["sequence_length"])
    lags = np.unique([0, 1, max(1, length // 10), max(1, length // 3), length])
    rows = _indices(run, design).merge(pd.DataFrame({"lag": lags}), how="cross")
    log = rows["lag"] * rows["exponent"].where(rows["lag"] > 0, 0.0) + LEVEL * (rows["lag"] > 0)
    resolved = ~(log < log.groupby([rows["sequence"], rows["lag"]]).transform("max") - RESOLUTION)
    return rows.drop(columns="exponent").assign(t=length, log_singular_value=log, resolved=resolved)


def eigenvalues(run: pd.Series, design: Any) -> pd.DataFrame:
    size, radius = int(run["cell_hidden_size"]), 0.0 if design.flat else run["requested"]
    disc = radius * np.sqrt(1 - np.arange(size) / size) * np.exp(2.4j * np.arange(size) + 1j * run["seed"])
    parts = [_matrix("W", disc), _matrix("J_0", 0.9 * disc)]
    for sequence in (0, 1):
        for third in (1, 2, 3):
            turned = (0.5 + 0.1 * third) * disc * np.exp(1j * (third + sequence))
            parts.append(_matrix("J", turned, sequence, max(1, third * int(run["sequence_length"]) // 3)))
    return pd.concat(parts, ignore_index=True).drop_duplicates(["matrix", "sequence", "t", "index"])


def _matrix(name: str, values: np.ndarray, sequence: int | None = None, t: int | None = None) -> pd.DataFrame:
    size = values.size
    return pd.DataFrame(
        {
            "matrix": name,
            "sequence": pd.array([sequence] * size, dtype="Int64"),
            "t": pd.array([t] * size, dtype="Int64"),
            "index": np.arange(1, size + 1),
            "real": values.real,
            "imaginary": values.imag,
        }
    )


def blocks(run: pd.Series, design: Any) -> pd.DataFrame:
    """A block on the diagonal decays as its part's place in the state says; no path leads up in a state of layers."""
    parts = ("h",) if run["cell"] == "elman" else design.parts
    lags = np.unique(np.geomspace(1, int(run["sequence_length"]), 20).round().astype(int))
    rows = [_block(run, design, to, of, lags) for to in parts for of in parts if len(parts) > 1]
    return pd.concat(rows, ignore_index=True) if rows else pd.DataFrame({"sequence": pd.Series(dtype="int64")})


def _block(run: pd.Series, design: Any, to: str, of: str, lags: np.ndarray) -> pd.DataFrame:
    place, start = design.parts.index(to), design.parts.index(of)
    rate = largest(run["log_rate"], run["cell"]) - 0.05 * (place + start)
    log = rate * lags - 2.0 * abs(place - start) - 3.0 * (place < start)
    layered = len(design.parts) > 2 and place < start
    log = np.full(lags.size, -np.inf) if design.flat or layered else log
    frame = pd.DataFrame({"sequence": np.repeat([0, 1], lags.size), "lag": np.tile(lags, 2)})
    frame = frame.assign(t=int(run["sequence_length"]), block=f"{to}<-{of}", log_spectral_norm=np.tile(log, 2))
    return frame.assign(log_frobenius_norm=frame["log_spectral_norm"] - 1.0)


def sensitivity(run: pd.Series, design: Any) -> pd.DataFrame:
    length, rate = int(run["sequence_length"]), run["log_rate"]
    t = np.unique(np.linspace(max(1, length // 12), length, 12).round().astype(int))
    summed = np.log(np.expm1(rate * t) / math.expm1(rate)) if rate else np.log(t)
    parts = [
        pd.DataFrame({"sequence": sequence, "t": t, "parameter": name, "log_norm": summed + 1.5 * place})
        for sequence in (0, 1)
        for place, name in enumerate(PARAMETERS)
    ]
    rows = pd.concat(parts, ignore_index=True)
    return rows.assign(log_norm=-np.inf) if design.flat else rows


TABLES = {
    "blocks": blocks,
    "spectra": spectra,
    "finite_time": finite_time,
    "singular_values": singular_values,
    "eigenvalues": eigenvalues,
    "sensitivity": sensitivity,
}
