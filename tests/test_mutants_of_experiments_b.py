"""The wrong engines of four experiments: each is a change of the source as it stands."""

import runpy
from pathlib import Path

import pytest

from bpttlab import places

ROOT = Path(__file__).resolve().parents[1]
MEMBERS = runpy.run_path(str(ROOT / "mutants" / "experiments_b.py"))


@pytest.mark.parametrize(("name", "file", "before", "after", "experiment"), MEMBERS["MUTANTS"])
def test_a_wrong_engine_changes_one_place(name, file, before, after, experiment):
    assert (ROOT / file).read_text(encoding="utf-8").count(before) == 1 and before != after
    assert experiment in MEMBERS["REDUCED"] and experiment in places.analyses()
