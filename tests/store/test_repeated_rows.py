"""Statistics over networks are the same with and without the rows that runs of one forward pass repeat."""

import pandas as pd
import pytest

from bpttlab import plugins, tables
from bpttlab.sweeps.configuration import Configuration
from bpttlab.sweeps.run import measure_bundle

pytestmark = pytest.mark.usefixtures("quick_disk")

SCHEMES = [("per_loss", "full"), ("per_loss", 3), ("windowed", 3), ("adaptive", 5), ("uoro", "full")]


@pytest.fixture
def study(here):
    """Two networks at two radii, of every kind of scheme, in two commits."""
    for seed in (0, 1):
        plain = {"engine": "numpy", "sequence_length": 7, "seed": seed, "cell": {"name": "elman", "hidden_size": 3}}
        for radius in (0.5, 1.2):
            of_network = {**plain, "spectral_radius": radius}
            schemes = [{"scheme": scheme, "truncation": truncation} for scheme, truncation in SCHEMES]
            runs = [Configuration.parse({**of_network, **scheme}) for scheme in schemes]
            here.publish(measure_bundle(runs))
    return here.load()


@pytest.mark.slow
def test_summaries_are_those_of_all_rows(study):
    narrow = tables.for_summaries(study)
    assert len(narrow.truncations) < 0.6 * len(study.truncations)
    assert len(narrow.lag_terms) < 0.5 * len(study.lag_terms)
    for name, table in plugins.find_shipped("table").items():
        pd.testing.assert_frame_equal(table.summarise(narrow), table.summarise(study), obj=name)


def test_curves_are_those_of_all_rows(study):
    narrow, runs = tables.for_summaries(study), study.runs
    for name, curves in (("jacobians", tables.growth_curves), ("lag_terms", tables.lag_curves)):
        pd.testing.assert_frame_equal(curves(narrow.table(name), runs), curves(study.table(name), runs), obj=name)
