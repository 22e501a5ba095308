"""Claims on seeds that are not shipped: one more set of the size that the README of each experiment states."""

from types import SimpleNamespace

import pytest

from tests.support.analysed import analysis_of, swept

pytestmark = pytest.mark.slow

FIRST = 40_000
"""The first seed; another number draws another set."""
NOISE = {"task": {"name": "noise", "input_size": 2}, "spectral_radius": 1.3, "batch_size": 8}


def seeds(count):
    return range(FIRST, FIRST + count)


def of_elman(experiment):
    """The analysis of an experiment that compares cells, of Elman cells alone."""
    analysis = analysis_of(experiment)
    analysis["claims"].__globals__["CELLS"] = ("elman",)
    return analysis


def assert_held(rows, count):
    assert len(rows) == count
    assert [row["claim"] for row in rows if not row["held"]] == []


def test_units_beside_the_wall(tmp_path_factory):
    unit = {
        "cell": {"name": "elman", "hidden_size": 1},
        "task": "adding",
        "initializer": "identity",
        "batch_size": 1,
        "sequence_length": 100,
        "readout": "units",
    }
    scales = [{"V": 0.0, "b": b} for b in (0.0, 1e-9, 1e-6, 1.0)] + [{"V": 0.0, "h_0": 1.0}]
    points = [
        {**unit, "scales": scale, "spectral_radius": w, "seed": seed}
        for w in (1.25, 1.75)
        for scale in scales
        for seed in seeds(12)
    ]
    study, analysis = swept(points, "cliffs", tmp_path_factory), analysis_of("cliffs")
    wall = analysis["distances"](study)
    rows = [*analysis["at_the_wall"](wall), analysis["beside_it"](wall), *analysis["truncated"](wall)]
    assert_held([*rows, *analysis["held_states"](study)], 8)


def test_windows_and_estimators_that_draw(tmp_path_factory):
    cell, small = ({"name": "elman", "hidden_size": size} for size in (16, 8))
    points = [
        {
            **NOISE,
            "cell": cell,
            "sequence_length": 100,
            "scheme": name,
            "truncation": K,
            "seed": seed,
            "measure": {"jacobians": "none", "lag_terms": "none"},
        }
        for name in ("per_loss", "windowed", "chunked")
        for K in (2, 5, 10, 20, 50)
        for seed in seeds(9)
    ]
    points += [
        {
            **NOISE,
            "cell": small,
            "sequence_length": 40,
            "scheme": {"name": name, "draws": 400},
            "truncation": 5,
            "seed": seed,
            "measure": {"jacobians": "none"},
        }
        for name in ("random", "uoro")
        for seed in seeds(9)
    ]
    study, analysis = swept(points, "costs", tmp_path_factory), of_elman("what_truncation_costs")
    own = study.truncations[study.truncations["origin"] == "scheme"]
    assert_held([*analysis["windows"](own), *analysis["unbiased"](study.truncations)], 6)


def test_products_of_linear_networks(tmp_path_factory):
    network = {
        "task": {"name": "noise", "input_size": 1},
        "sequence_length": 100,
        "batch_size": 1,
        "scales": {"V": 0.3},
        "measure": {"sequences": 1, "lags": 24, "bound_lags": 0, "lag_terms": "none", "truncations": "none"},
    }
    points = [
        {
            **network,
            "cell": {"name": "elman", "activation": "identity", "hidden_size": size},
            "initializer": {"name": "gaussian", "gain": 0.8},
            "seed": seed,
        }
        for size in (2, 10)
        for seed in seeds(100)
    ]
    study, analysis = swept(points, "mean", tmp_path_factory), analysis_of("mean_is_not_typical")
    norms = analysis["last_products"](study)
    rows = [*analysis["own_radius"](study), *analysis["drawn_variance"](norms), *analysis["spread"](norms)]
    assert_held([*rows, *analysis["dominated"](norms)], 16)


def test_moments_of_one_unit(tmp_path_factory):
    point = {
        "batch_size": 750,
        "sequence_length": 1200,
        "task": {"name": "noise", "input_size": 1},
        "cell": {"name": "elman", "hidden_size": 1, "activation": "identity"},
        "initializer": "identity",
        "measure": {"sequences": 750, "jacobians": "none", "lag_terms": "none", "sensitivity_steps": 2},
    }
    points = [{**point, "spectral_radius": decay, "seed": seed} for decay in (0.9, 0.99) for seed in seeds(8)]
    study, analysis = swept(points, "curse", tmp_path_factory), analysis_of("curse_of_memory")
    scalar = analysis["networks"](SimpleNamespace(runs=study.runs, sensitivity=study.sensitivity))
    powers = [analysis["growth"](scalar, "h", 1.0), analysis["growth"](scalar, "lambda", 3.0)]
    assert_held([*analysis["as_published"](scalar), *powers], 6)
