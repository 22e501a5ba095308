"""A store from anywhere is data: reading it succeeds or is one line with exit code 2, in less than two seconds.

Files have right SHA-256 names, so that what is wrong is inside: JSON of other types, huge numbers, many fields, deep
nesting, other rows and columns, other bytes.
"""

import random
import time
import traceback

import pytest

from bpttlab.cli import main
from tests.support.hostile import copy_study, doctor

SECONDS = 2.0
TO_DRAW = 8.0
"""Seconds of `figures`, which takes three for a store as it was written."""

READERS = (
    "status study=doctored",
    "tables study=doctored",
    "sweep study=doctored seed=1 workers=0 sequence_length=8 cell.hidden_size=4 batch_size=2 --dry-run",
)
DRAWING = (*READERS, "figures study=doctored", "claims study=doctored experiment=vanishing_exploding")


def read_in_vain(line, capsys):
    """What is wrong with how a command ends; "" if it succeeds, or says why not in one line."""
    begun = time.process_time()
    try:
        code = main(line.split())
    except Exception:
        return traceback.format_exc()
    seconds, said = time.process_time() - begun, capsys.readouterr().err
    if code == 2 and not (said.startswith("bpttlab: ") and said.count("\n") == 1 and len(said) < 6000):
        return said
    return f"{seconds:.1f} s" if seconds > (TO_DRAW if line.startswith("figures") else SECONDS) else ""


def doctor_and_read(studied, tmp_path, monkeypatch, capsys, seed, lines):
    monkeypatch.chdir(tmp_path)
    study = copy_study(studied / "results" / "first", tmp_path / "results" / "doctored")
    done = doctor(study, random.Random(seed))
    wrong = {line: found for line in lines if (found := read_in_vain(line, capsys))}
    assert not wrong, f"seed {seed}, {done}: {wrong}"


@pytest.fixture(scope="module", autouse=True)
def warm(studied):
    """Imports are no part of the time of a reader."""
    import bpttlab.claims.analyses
    import bpttlab.figures.style  # noqa: F401


@pytest.mark.parametrize("seeds", [range(start, start + 5) for start in (0, 5)], ids=str)
def test_a_doctored_store_is_read_or_refused(studied, tmp_path, monkeypatch, capsys, seeds):
    for seed in seeds:
        doctor_and_read(studied, tmp_path, monkeypatch, capsys, seed, READERS[:2])


@pytest.mark.slow
@pytest.mark.parametrize("seeds", [range(start, start + 20) for start in range(1000, 1400, 20)], ids=str)
def test_many_doctored_stores(studied, tmp_path, monkeypatch, capsys, seeds):
    for seed in seeds:
        doctor_and_read(studied, tmp_path, monkeypatch, capsys, seed, DRAWING)
