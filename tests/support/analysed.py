"""Reduced sweeps of experiments, their analyses, and tables to be doctored."""

import runpy
from types import SimpleNamespace

from bpttlab import resources
from bpttlab.store.store import load
from bpttlab.sweeps.scheduler import sweep


def swept(points, name, tmp_path_factory):
    """A study of these points, all of which are done; in NumPy, so that nothing is compiled for its cells."""
    folder = tmp_path_factory.mktemp("results")
    sweep([{**point, "engine": "numpy"} for point in points], name, folder, workers=0, progress=False)
    study = load(name, folder)
    assert set(study.runs["status"]) == {"done"}
    return study


def analysis_of(experiment):
    """What its analysis defines, by name; executed anew."""
    return runpy.run_path(str(resources.analyses()[experiment]))


def tables_of(study, tables, **changed):
    """Tables of a study, some of them doctored."""
    return SimpleNamespace(**({name: study.table(name) for name in tables} | changed))
