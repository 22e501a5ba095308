"""Made-up runs of every status, and a store to put them into."""

from __future__ import annotations

import os
import random
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bpttlab import files
from bpttlab.store import identity, schema
from bpttlab.store.column import NO_COLUMNS, MeasureColumns
from bpttlab.store.store import Store

MEASURES = tuple(table for table in schema.TABLES if table not in ("runs", "provenance"))


@dataclass
class Run:
    """What a worker pool over."""

    run: dict[str, Any]
    provenance: dict[str, Any] = field(default_factory=dict)
    tables: dict[str, dict[str, Any]] = field(default_factory=dict)
    own: MeasureColumns = NO_COLUMNS

    @property
    def run_id(self) -> str:
        return self.run["run_id"]


def configured(seed: int, **changes: Any) -> dict[str, Any]:
    configuration = {
        "seed": seed,
        "spectral_radius": 1.1 if seed % 3 else None,
        "sequence_length": 9,
        "truncation": "full" if seed % 2 else 5,
        "cell": {"name": "elman", "hidden_size": 4},
        "scheme": {"name": "full"} if seed % 2 else {"name": "windowed", "k1": 2},
        "task": {"name": "made up", "level": [1, 1.5, "high", True][seed % 4]},
    }
    return configuration | changes


def finished(seed: int, status: str = "done", loss: float | None = None, error: str = "", **changes: Any) -> Run:
    """A run with a few rows in each table, or with none if it did not get there."""
    configuration, rng = configured(seed, **changes), np.random.default_rng(seed)
    row = {
        "run_id": identity.run_id(configuration),
        "network_id": f"{seed // 2:032x}",
        "status": status,
        "configuration": identity.canonical(configuration),
    }
    provenance = {"seconds": rng.random(), "started": "2024-01-01T00:00:00+00:00", "git_dirty": False}
    if status != "done":
        return Run({**row, "error": error or None, "first_bad_step": 3 if status == "diverged" else None}, provenance)
    tables = {**products(rng), **spectra(rng), **gradients(rng, loss or 0.0)}
    return Run(
        {**row, "loss": seed / 7 if loss is None else loss, "rank": 4, "horizon_censored": True}, provenance, tables
    )


def products(rng: np.random.Generator) -> dict[str, dict[str, Any]]:
    """Rows about products of Jacobians, not in order."""
    order = rng.permutation(6)
    lags = {"sequence": np.repeat([0, 1], 3)[order], "t": np.full(6, 9), "lag": np.tile([0, 1, 2], 2)[order]}
    resolved = {"index": np.ones(6, dtype=int), "log_singular_value": rng.normal(size=6), "resolved": order % 2 == 0}
    return {
        "jacobians": {**lags, "log_spectral_norm": np.where(order % 3, rng.normal(size=6), -np.inf)},
        "blocks": {**lags, "block": ["c<-h"] * 6, "log_frobenius_norm": np.where(order % 3, 1.0, np.nan)},
        "singular_values": {**lags, **resolved},
    }


def spectra(rng: np.random.Generator) -> dict[str, dict[str, Any]]:
    """Rows about exponents, eigenvalues and forward sensitivity."""
    index = {"sequence": [0] * 3, "index": [3, 1, 2]}
    return {
        "spectra": {**index, "lyapunov_exponent": rng.normal(size=3), "low": [-np.inf, None, -1.0]},
        "finite_time": {**index, "t": [9] * 3, "finite_time_exponent": rng.normal(size=3), "steps": [4] * 3},
        "eigenvalues": {
            "matrix": ["W", "J", "J_0"],
            "sequence": [None, 0, None],
            "t": [None, 9, None],
            "index": [1] * 3,
            "real": rng.normal(size=3),
            "imaginary": np.zeros(3),
        },
        "sensitivity": {"sequence": [0] * 2, "t": [9, 5], "parameter": ["W", "V"], "log_norm": [-np.inf, 1.0]},
    }


def gradients(rng: np.random.Generator, log_norm: float) -> dict[str, dict[str, Any]]:
    """Rows about the gradient: its lag terms and its truncations."""
    return {
        "lag_terms": {"parameter": ["W", "V"], "lag": [0, 0], "log_norm": rng.normal(size=2)},
        "truncations": {
            "scheme": ["per_loss"] * 3,
            "truncation": [None, 5, 2],
            "length": [9] * 3,
            "parameter": ["W"] * 3,
            "log_norm": np.full(3, log_norm),
            "origin": ["wavefront"] * 3,
        },
        "bias_bounds": {
            "parameter": ["W"] * 2,
            "truncation": [5, 2],
            "log_norm": np.full(2, log_norm),
            "log_bias_bound": [-np.inf, None],
        },
    }


RUNS = [finished(seed) for seed in range(6)] + [finished(6, "failed", error="x"), finished(7, "diverged")]


@pytest.fixture
def quick_disk(monkeypatch) -> None:
    """Durability costs time, and is tested where it is the question."""
    monkeypatch.setattr(os, "fsync", lambda descriptor: None)
    monkeypatch.setattr(files, "_forget_pages", lambda descriptor: None)


@pytest.fixture
def here(tmp_path) -> Store:
    """A store with nothing in it yet."""
    return Store(tmp_path / "results", "first")


def shard_files(where: Store, table: str) -> list[Path]:
    """The published files of a table."""
    return sorted((where.path / "store" / table).glob("[0-9a-f]*.parquet"))


def contents(where: Store) -> dict[str, bytes]:
    """Every table but provenance, as bytes: values, types, columns, order and index."""
    study = where.load()
    return {name: study.table(name).to_parquet() for name in ("runs", *MEASURES)}


def damage_by_flipping(path: Path, rng: random.Random) -> None:
    """Flips one bit."""
    data = bytearray(path.read_bytes())
    bit = rng.randrange(8 * len(data))
    data[bit // 8] ^= 1 << bit % 8
    path.write_bytes(data)
