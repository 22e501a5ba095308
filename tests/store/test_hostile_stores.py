"""A store from anywhere is data: reading it succeeds or is one line with exit code 2, in less than two seconds.

Files have right SHA-256 names, so that what is wrong is inside: JSON of other types, huge numbers, many fields, deep
nesting, other rows and columns, other bytes.
"""

import json
import random
import time
import traceback
import warnings

import pytest

from bpttlab.cli import main
from bpttlab.errors import DamageWarning, LabError
from bpttlab.store.store import load
from faults.hostile_stores import commit_of, copy_study, doctor, put, read, rewrite, rewrite_bytes, set_column
from faults.override_lines import NOTICE

SECONDS = 2.0
"""Of processor time, until a store is refused or read."""
TO_FINISH = 8.0
"""Seconds of a command that succeeds: `tables` takes one and `figures` three for a store as it was written."""

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
    refusal = [line for line in said.splitlines() if not line.startswith(NOTICE)]
    if code == 2 and not (len(refusal) == 1 and refusal[0].startswith("bpttlab: ") and len(said) < 9000):
        return said
    return f"{seconds:.1f} s" if seconds > (SECONDS if code == 2 else TO_FINISH) else ""


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


def load_in_vain(results):
    """What is wrong with how all tables are read; "" if they are, or the study is refused."""
    begun = time.process_time()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DamageWarning)
            study = load("doctored", results)
            for name in study.tables:
                study.table(name)
    except LabError:
        pass
    except Exception:
        return traceback.format_exc()
    seconds = time.process_time() - begun
    return f"{seconds:.1f} s" if seconds > SECONDS else ""


def test_all_tables_of_a_doctored_store_are_read_or_refused(studied, tmp_path):
    for seed in range(20):
        done = doctor(copy_study(studied / "results" / "first", tmp_path / "doctored"), random.Random(seed))
        wrong = load_in_vain(tmp_path)
        assert not wrong, f"seed {seed}, {done}: {wrong}"


@pytest.mark.parametrize("seeds", [range(2), pytest.param(range(2, 4), marks=pytest.mark.slow)], ids=str)
def test_commands_read_or_refuse_a_doctored_store(studied, tmp_path, monkeypatch, capsys, seeds):
    for seed in seeds:
        doctor_and_read(studied, tmp_path, monkeypatch, capsys, seed, READERS[:2])


KNOWN = [
    ("configuration", "[1,2]"),
    ("configuration", "3"),
    ("configuration", "null"),
    ("configuration", '{"seed":0}'),
    ("configuration", json.dumps({f"f{place}": 0 for place in range(20_000)})),
    ("published", 10**400),
    ("published", "1e400"),
    ("rows", 0),
]


@pytest.mark.parametrize(("what", "value"), KNOWN, ids=lambda value: str(value)[:16])
def test_what_once_was_a_traceback_or_took_long(studied, tmp_path, monkeypatch, capsys, what, value):
    monkeypatch.chdir(tmp_path)
    study = copy_study(studied / "results" / "first", tmp_path / "results" / "doctored")
    path = commit_of(study, random.Random(0))
    rows, about = read(path)
    if what == "configuration":
        texts = [value, *rows["configuration"].to_pylist()[1:]]
        rewrite(path, rows=lambda table: set_column(table, "configuration", texts))
    elif what == "published":
        text = json.dumps(about).replace(str(about["published"]), str(value))
        put(study, path, rewrite_bytes(path, about=text))
    else:
        put(study, path, rewrite_bytes(path, rows=lambda table: table.slice(0, 0)))
    assert read_in_vain("tables study=doctored", capsys) == ""
    assert main(["tables", "study=doctored"]) == 2


@pytest.mark.slow
@pytest.mark.parametrize("seeds", [range(start, start + 20) for start in range(1000, 1100, 20)], ids=str)
def test_many_doctored_stores(studied, tmp_path, monkeypatch, capsys, seeds):
    for seed in seeds:
        doctor_and_read(studied, tmp_path, monkeypatch, capsys, seed, DRAWING)
