"""Reduced sweeps of experiments, their analyses, and tables to be doctored."""

import runpy
from types import SimpleNamespace

import pytest

from bpttlab import resources
from bpttlab.figures import style
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


def failing(claims):
    """The claims with the verdict fails."""
    return claims.loc[claims["verdict"] == "fails", "claim"].tolist()


def draw(analysis, study, size):
    """The figure of an experiment, which has the width of a page or of a column."""
    with style.style_context(size):
        figure = analysis["draw"](study, size)[analysis["FIGURE"]]
    assert figure.get_size_inches()[0] == pytest.approx(style.WIDTHS[size])
    return figure
