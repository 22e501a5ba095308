"""Wrong engines of four experiments' own subjects: each can still be planted (mutants/experiments_a.py)."""

import runpy
from pathlib import Path

import pytest

from bpttlab import places

ROOT = Path(__file__).resolve().parent.parent
LISTED = runpy.run_path(str(ROOT / "mutants" / "experiments_a.py"))


@pytest.mark.parametrize("mutant", LISTED["MUTANTS"], ids=lambda mutant: f"{mutant[4]}-{mutant[0]}")
def test_a_wrong_engine_applies_to_the_source(mutant):
    _, file, before, after, experiment = mutant
    assert (ROOT / file).read_text(encoding="utf-8").count(before) == 1
    assert before != after
    assert experiment in LISTED["REDUCED"] and experiment in places.analyses()
