"""After a power failure at any moment, all that was reported as done is intact; without fsync that is not so."""

import sys
import tempfile
from pathlib import Path

import numpy as np
import pytest

from faults import disk_model, power_cuts, recording, studies
from faults.disk_model import Disk
from faults.needs import scratch_folder
from faults.recording import CREATE, DONE, FSYNC, LINK, MKDIR, REMOVE, RENAME, WRITE, Operation

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="sweeps are recorded in forked processes")

TRIED = 18


@pytest.fixture(scope="module")
def folder():
    with tempfile.TemporaryDirectory(dir=scratch_folder()) as name:
        studies.warm_up(Path(name))
        yield Path(name)


@pytest.fixture(scope="module")
def whole(folder):
    return studies.inspect(folder / "warm")


def record(folder, name, work):
    (folder / name).mkdir()
    return recording.record_in_process(folder / name, work)


def find_losses(folder, whole, operations, most=6):
    cuts = power_cuts.choose(list(power_cuts.list_cuts(operations, 0, most)), TRIED, 0)
    return [loss for cut in cuts for loss in power_cuts.attempt(folder, whole, cut)]


def test_a_power_cut_loses_nothing_that_was_reported(folder, whole):
    operations = record(folder, "recorded", recording.sweep)
    assert sum(one.kind == DONE for one in operations) == 3
    assert find_losses(folder, whole, operations) == []


def test_without_fsync_losses_are_found(folder, whole):
    losses = find_losses(folder, whole, record(folder, "careless", recording.sweep_without_fsync))
    assert any("was reported as done and is not stored" in loss for loss in losses)
    assert any("has other bytes than its name says" in loss for loss in losses)


@pytest.mark.slow
@pytest.mark.parametrize("of", ["files", "folders"])
def test_one_kind_of_fsync_does_not_suffice(folder, whole, of):
    operations = record(folder, of, recording.sweep)
    files = {one.path for one in operations if one.kind == CREATE}
    kept = [one for one in operations if one.kind != FSYNC or (one.path in files) != (of == "files")]
    assert find_losses(folder, whole, kept)


# ------------------------------------------------------------------ what a disk may hold


def images(*operations):
    """What may be on disk, each once, in some order."""
    disk = Disk()
    for one in operations:
        disk.carry_out(one)
    return {frozenset(image.items()) for image in disk.images(1000, np.random.default_rng(0))}


def image(**files):
    return frozenset(files.items())


A = (Operation(CREATE, "a"), Operation(WRITE, "a", data=b"12"))
SYNCED = (*A, Operation(FSYNC, "a"), Operation(FSYNC, "."))


def test_bytes_without_fsync_are_whole_absent_torn_or_zeros():
    found = images(*A, Operation(FSYNC, "."))
    assert found == {image(a=data) for data in (b"12", b"", b"1", b"\0\0")}


def test_a_name_without_fsync_is_there_or_not():
    assert images(*A, Operation(FSYNC, "a")) == {image(), image(a=b"12")}


def test_what_was_fsynced_is_there():
    assert images(*SYNCED) == {image(a=b"12")}


def test_a_rename_is_there_whole_or_not_at_all():
    assert images(*SYNCED, Operation(RENAME, "a", "b")) == {image(a=b"12"), image(b=b"12")}


def test_a_later_name_may_be_there_without_an_earlier_one():
    found = images(*SYNCED, Operation(LINK, "a", "b"), Operation(LINK, "a", "c"))
    assert image(a=b"12", c=b"12") in found
    assert len(found) == 4


def test_a_file_is_lost_with_its_folder():
    inside = (Operation(MKDIR, "f"), Operation(CREATE, "f/a"), Operation(FSYNC, "f"))
    assert images(*inside) == {image(), frozenset({("f", None), ("f/a", b"")})}


def test_a_removed_file_may_still_be_there():
    assert images(*SYNCED, Operation(REMOVE, "a")) == {image(), image(a=b"12")}


def test_many_possibilities_are_sampled_with_the_extremes():
    disk = Disk()
    for number in range(12):
        disk.carry_out(Operation(CREATE, f"{number}"))
    found = [len(image) for image in disk.images(10, np.random.default_rng(0))]
    assert len(found) == 10
    assert {0, 12} <= set(found)


def test_more_disks_are_drawn_until_there_are_enough():
    operations = [Operation(CREATE, f"file{number}") for number in range(10)]
    few = power_cuts.list_enough(operations, 0, 10)
    many = power_cuts.list_enough(operations, 0, 500)
    assert len(few) == len(list(power_cuts.list_cuts(operations, 0))) < 500 <= len(many)
    assert len({frozenset(cut.image.items()) for cut in many}) == len(many)


def test_an_image_is_written_to_a_folder(tmp_path):
    disk_model.write({"f": None, "f/a": b"1", "b": b""}, tmp_path)
    assert (tmp_path / "f" / "a").read_bytes() == b"1"
    assert (tmp_path / "b").read_bytes() == b""


# ------------------------------------------------------------------ what strace records


def hexadecimal(text):
    return "".join(f"\\x{byte:02x}" for byte in text.encode())


def test_calls_in_the_folder_are_read_from_a_log(tmp_path):
    a, b, report = hexadecimal("/r/a"), hexadecimal("/r/b"), hexadecimal("runs reported as done: 1f 2e\n")
    lines = [
        f'openat(AT_FDCWD<{hexadecimal("/")}>, "{a}", O_WRONLY|O_CREAT|O_EXCL, 0666) = 4<{a}>',
        f'write(4<{a}>, "{hexadecimal("12")}", 2) = 2',
        f"fsync(4<{a}>) = 0",
        f'rename("{a}", "{b}") = 0',
        f'mkdir("{b}", 0777) = -1 EEXIST (File exists)',
        f'unlink("{hexadecimal("/elsewhere")}") = 0',
        f'write(2<{hexadecimal("/said")}>, "{report}", 29) = 29',
        "+++ exited with 0 +++",
    ]
    (tmp_path / "log").write_text("\n".join(lines))
    found = list(recording.read_log(tmp_path / "log", Path("/r")))
    renamed = Operation(RENAME, "a", "b")
    assert found == [*A, Operation(FSYNC, "a"), renamed, Operation(DONE, "", data=b"1f 2e")]


def test_only_whole_lines_report_runs():
    said = f"{recording.REPORT.decode()}1f 2e\nother\n{recording.REPORT.decode()}3"
    assert recording.read_reports(said) == {"1f", "2e"}
