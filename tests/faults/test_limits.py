"""Limits of what a study promises, each shown: docs/reliability.md lists them with these tests."""

import ast
import hashlib
import re
import shutil
import warnings
from pathlib import Path

import pytest

from bpttlab.errors import DamagedShardError
from bpttlab.store import chain, sweep_requests
from bpttlab.store.store import Store
from faults.catalogue import FAULTS
from tests.support.stored import finished, shard_files

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "reliability.md").read_text(encoding="utf-8")

pytestmark = pytest.mark.usefixtures("quick_disk")


@pytest.fixture(autouse=True)
def warnings_are_errors():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield


@pytest.fixture
def two(here):
    """A study of two commits, each of one run; the file of the last one."""
    here.publish([finished(0)])
    (first,) = shard_files(here, "runs")
    here.publish([finished(1)])
    (last,) = set(shard_files(here, "runs")) - {first}
    return last


def reread(here):
    """The runs, as another process reads them."""
    return set(Store(here.root, "first").load().runs["run_id"])


def test_a_deleted_commit_with_its_record_is_not_missed(here, two):
    two.unlink()
    shutil.rmtree(here.path / chain.COMMITS_FOLDER)
    assert reread(here) == {finished(0).run_id}


def test_an_older_copy_of_a_study_is_a_whole_study(here, tmp_path):
    here.publish([finished(0)])
    shutil.copytree(here.path, tmp_path / "older")
    here.publish([finished(1)])
    shutil.rmtree(here.path)
    shutil.copytree(tmp_path / "older", here.path)
    assert reread(here) == {finished(0).run_id}


def test_a_deleted_record_of_a_line_is_not_missed(here, two):
    sweep_requests.write_request(here, "bpttlab sweep x", [finished(0).run_id])
    shutil.rmtree(here.path / sweep_requests.SWEEPS_FOLDER)
    assert sweep_requests.find_last_line(here) is None
    assert len(reread(here)) == 2


def test_a_checksum_is_no_signature(here, two):
    other = Store(here.root / "elsewhere", "first")
    other.publish([finished(7)])
    for path in other.path.rglob("*.parquet"):
        shutil.copy(path, here.path / path.relative_to(other.path))
    assert finished(7).run_id in reread(here)


def test_an_fsync_that_lies_is_not_noticed(here):
    here.publish([finished(0)])  # `quick_disk` lets fsync do nothing
    assert reread(here) == {finished(0).run_id}


def test_no_sweep_goes_on_beside_damage(here, two):
    two.write_bytes(two.read_bytes()[:-1])
    with pytest.raises(DamagedShardError, match="bpttlab repair study=first"):
        Store(here.root, "first").statuses()


def test_a_file_that_is_not_named_as_ours_is_ignored(here, two):
    (two.parent / f"{hashlib.sha256(b'').hexdigest()}.parquet.bak").write_bytes(b"x")
    (two.parent / "notes.txt").write_text("x")
    assert len(reread(here)) == 2


# ------------------------------------------------------------------ the page


def test_every_fault_is_on_the_page():
    assert [fault.module for fault in FAULTS if f"`{fault.module}`" not in PAGE] == []


def test_the_tests_that_the_page_names_exist():
    named = re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", PAGE)
    assert len(named) > 10
    missing = [(file, test) for file, test in named if test not in names_of_functions(ROOT / file)]
    assert missing == []


def names_of_functions(file):
    tree = ast.parse(file.read_text(encoding="utf-8"))
    return {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}
