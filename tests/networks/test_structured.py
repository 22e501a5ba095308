"""Structured matrices: where their connections are, which sign they have, and an exact spectral radius."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bpttlab.errors import ConfigurationError, LabError
from bpttlab.networks.initializers import Structured, from_fields
from bpttlab.numerics import matrices
from bpttlab.sweeps.configuration import Configuration
from tests.support.examples import examples

TOPOLOGIES = [
    {"topology": "dense"},
    {"topology": "sparse", "density": 0.3},
    {"topology": "ring"},
    {"topology": "ring", "neighbours": 3},
    {"topology": "small_world"},
    {"topology": "small_world", "neighbours": 3, "rewiring": 0.5},
]


def draw(size=20, seed=0, **fields):
    return Structured(**fields).sample(np.random.default_rng(seed), size)


@pytest.mark.parametrize("topology", TOPOLOGIES)
@pytest.mark.parametrize("excitatory", [None, 0.8, 1.0, 0.0])
@pytest.mark.parametrize("weights", ["gaussian", "equal"])
def test_the_spectral_radius_is_exact(topology, excitatory, weights):
    fields = {**topology, "excitatory": excitatory, "weights": weights}
    if excitatory == 0.8 and weights == "equal" and topology.get("topology") == "dense":
        fields["balance"] = 0.5  # at balance 1 all eigenvalues are zero
    W = draw(spectral_radius=1.3, **fields)
    assert matrices.spectral_radius(W) == pytest.approx(1.3, rel=1e-9)
    assert np.array_equal(draw(spectral_radius=0.4, **fields), 0.4 * draw(spectral_radius=1.0, **fields))


@given(share=st.floats(0.1, 0.9), balance=st.floats(0.2, 5.0), seed=st.integers(0, 99))
@examples(25)
def test_every_column_has_the_sign_of_its_unit(share, balance, seed):
    W = draw(seed=seed, excitatory=share, balance=balance, topology="sparse", density=0.5)
    positive = int(np.floor(share * 20 + 0.5))
    assert (W[:, :positive] >= 0).all() and (W[:, positive:] <= 0).all()
    assert (W != 0).sum() == 200


def test_balanced_weights_sum_to_zero_in_the_mean():
    excitation, inhibition = np.zeros(2), np.zeros(2)
    for place, balance in enumerate((1.0, 0.5)):
        W = np.mean([draw(seed=seed, excitatory=0.75, balance=balance, size=40) for seed in range(40)], axis=0)
        excitation[place], inhibition[place] = W[:, :30].sum(), -W[:, 30:].sum()
    assert inhibition / excitation == pytest.approx([1.0, 0.5], rel=0.02)


def test_a_simple_cycle_is_a_scaled_permutation():
    W = draw(5, topology="ring", weights="equal", spectral_radius=0.9)
    assert np.allclose(W, 0.9 * np.eye(5)[[4, 0, 1, 2, 3]], rtol=1e-12)
    assert W[1, 0] != 0 and W[0, 4] != 0  # unit 1 receives from unit 0


@pytest.mark.parametrize("rewiring", [0.0, 0.3, 1.0])
def test_a_small_world_keeps_the_number_of_connections(rewiring):
    for seed in range(20):
        W = draw(seed=seed, topology="small_world", neighbours=3, rewiring=rewiring)
        assert ((W != 0).sum(axis=1) == 6).all() and not np.diag(W).any()


def test_without_rewiring_a_small_world_is_a_ring_of_both_sides():
    W = draw(9, topology="small_world", neighbours=2, rewiring=0.0)
    distance = (np.arange(9)[:, None] - np.arange(9)) % 9
    assert np.array_equal(W != 0, np.isin(distance, [1, 2, 7, 8]))


def test_the_share_of_rewired_connections_is_the_probability():
    near = np.isin((np.arange(60)[:, None] - np.arange(60)) % 60, [1, 2, 58, 59])
    draws = [draw(60, seed, topology="small_world", rewiring=0.3) for seed in range(40)]
    moved = np.mean([(W[~near] != 0).sum() / 240 for W in draws])
    assert moved == pytest.approx(0.3 * (1 - 3 / 57), abs=0.02)  # few are replaced by a neighbour again


def test_the_pattern_of_a_file_decides_which_entries_are_zero(tmp_path):
    pattern = np.eye(6)[[1, 2, 3, 4, 5, 0]] + np.eye(6)
    np.save(tmp_path / "W.npy", 7 * pattern)
    W = draw(6, topology="file", path=str(tmp_path / "W.npy"), excitatory=0.5)
    assert np.array_equal(W != 0, pattern != 0) and (W[:, :3] >= 0).all() and (W[:, 3:] <= 0).all()


def test_draws_of_one_generator_have_the_same_weights():
    dense, sparse = draw(), draw(topology="sparse", density=0.4)
    ratios = sparse[sparse != 0] / dense[sparse != 0]
    np.testing.assert_allclose(ratios, ratios[0], rtol=1e-12)
    signed = np.abs(draw(excitatory=1.0) / dense)
    np.testing.assert_allclose(signed, signed[0, 0], rtol=1e-12)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"topology": "rng"}, "initializer.topology='rng': must be .*'ring'"),
        (
            {"density": 0.1},
            "initializer.density=0.1: belongs to the topology sparse, and initializer.topology is dense",
        ),
        ({"topology": "ring", "rewiring": 0.1}, "rewiring=0.1: belongs to the topology small_world"),
        ({"neighbours": 1}, "neighbours=1: belongs to the topology ring and small_world"),
        ({"path": "W.npy"}, "path='W.npy': belongs to the topology file"),
        ({"topology": "file"}, "initializer.path: must name a file of yours"),
        ({"balance": 1.0}, "balance=1.0: needs units of both signs, and initializer.excitatory is null; must be null"),
        ({"excitatory": 1.0, "balance": 1.0}, "needs units of both signs, and initializer.excitatory is 1.0"),
        ({"excitatory": 1.5}, "initializer.excitatory=1.5: must be a number >= 0 and <= 1"),
        ({"topology": "small_world", "rewiring": -0.1}, "rewiring=-0.1: must be a number >= 0 and <= 1"),
        ({"spectral_radius": np.nan}, "initializer.spectral_radius=nan"),
    ],
)
def test_fields_that_do_not_go_together_are_refused(fields, message):
    with pytest.raises(ConfigurationError, match=message):
        Structured(**fields)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"topology": "sparse", "density": 0.01}, "initializer.density=0.01: of 5 hidden units .* at least 0.2"),
        ({"topology": "small_world", "neighbours": 3}, "neighbours=3: of 5 hidden units a small_world has at most 2"),
        ({"topology": "ring", "neighbours": 6}, "neighbours=6: of 5 hidden units a ring has at most 5"),
        (
            {"excitatory": 0.02},
            "initializer.excitatory=0.02: of 5 hidden units it leaves none of one sign; must be from",
        ),
    ],
)
def test_structures_that_do_not_fit_the_units_are_refused(fields, message):
    with pytest.raises(ConfigurationError, match=message):
        Configuration.parse({"initializer": {"name": "structured", **fields}, "cell.hidden_size": 5})


def test_a_draw_without_a_loop_is_refused(tmp_path):
    np.save(tmp_path / "W.npy", np.tri(4, k=-1))
    with pytest.raises(LabError, match="topology=file: the draw has the spectral radius 0 and cannot be scaled"):
        draw(4, topology="file", path=str(tmp_path / "W.npy"))
    with pytest.raises(
        LabError, match="topology=dense: the draw .* cannot be scaled; change topology, balance or seed"
    ):
        draw(20, excitatory=0.8, weights="equal")


def test_one_setting_has_one_identity():
    def run_id(**fields):
        return Configuration.parse({"initializer": {"name": "structured", **fields}}).run_id

    assert run_id(topology="sparse") == run_id(topology="sparse", density=0.1)
    assert run_id(topology="ring") == run_id(topology="ring", neighbours=1) != run_id(topology="ring", neighbours=2)
    assert run_id(excitatory=0.8) == run_id(excitatory=0.8, balance=1) != run_id()
    assert from_fields("structured", {"excitatory": 0.8}, 0.7).requested == 0.7
