"""The benchmarks' kernels, their page, their memory of processes and their command line."""

import json
import os
import platform
import subprocess
import sys
import time
from pathlib import Path

import pytest

from benchmarks import environment, figures, kernels, page, peers, processes, record, suite
from benchmarks.protocol import FULL, QUICK
from benchmarks.rows import Row, Settings, alone
from benchmarks.workloads import WORKLOADS
from tests.support.benchmarks import recorded, row, silent_mkl  # noqa: F401  # the fixture
from tests.support.commandline import REPOSITORY

pytestmark = pytest.mark.usefixtures("silent_mkl")

# ------------------------------------------------------------------------------------------ kernels


def test_a_variable_that_forces_kernels_begins_the_process_anew(monkeypatch):
    """Everything else of the environment is as it was; the new process is told what was unset."""
    monkeypatch.setattr(environment, "_unset", {})
    given = {"OPENBLAS_CORETYPE": "Prescott", "MKL_CBWR": "AVX2", "OPENBLAS_VERBOSE": "2", "HOME": "here"}
    begun = []
    environment.begin_clean(["--quick"], given, lambda *arguments: begun.append(arguments))
    (executable, words, again) = begun[0]
    assert executable == words[0] == sys.executable and words[1:] == sys.orig_argv[1:]
    environment.begin_clean(["--quick"], again, lambda *arguments: begun.append(arguments))
    assert len(begun) == 1 and again == {"OPENBLAS_VERBOSE": "2", "HOME": "here"}
    assert environment.unset() == {"OPENBLAS_CORETYPE": "Prescott", "MKL_CBWR": "AVX2"}


def test_variables_that_a_user_keeps_stay():
    given = {"NUMBA_CPU_NAME": "generic"}
    environment.begin_clean([environment.KEEP], given, lambda *arguments: pytest.fail("begun anew"))
    assert environment.forcing(given) == {"NUMBA_CPU_NAME": "generic"}


def kernel_of(*words):
    """NumPy's kernel and the variables unset, in a process that OPENBLAS_CORETYPE would force; without peers."""
    code = (
        "import sys, numpy; from benchmarks import environment; environment.begin_clean(sys.argv[1:])\n"
        "from benchmarks import kernels; kernels.peers = dict\n"
        "print([one['kernel'] for one in kernels.loaded() if one['of'] == 'numpy'][0], *environment.unset())"
    )
    clean = {name: value for name, value in os.environ.items() if name not in environment.forcing()}
    forced = clean | {"OPENBLAS_CORETYPE": "Prescott"}
    command = [sys.executable, "-c", code, *words]
    done = subprocess.run(command, cwd=REPOSITORY, env=forced, capture_output=True, text=True, timeout=120, check=True)
    return done.stdout.split()


@pytest.mark.skipif(platform.machine() not in ("x86_64", "AMD64"), reason="no such kernel is known there")
def test_the_library_chooses_the_kernel_unless_it_is_kept():
    """NumPy is loaded before, so that unsetting a variable in the same process would be too late."""
    if next(one["library"] for one in kernels.loaded() if one["of"] == "numpy") != "openblas":
        pytest.skip("NumPy has another BLAS")
    chosen, *unset = kernel_of()
    (kept,) = kernel_of(environment.KEEP)
    assert unset == ["OPENBLAS_CORETYPE"] and kept != chosen


VERSION = "2024.0 Update 2"


@pytest.mark.parametrize(
    ("said", "found"),
    [
        (
            f"MKL_VERBOSE oneMKL {VERSION} Product build 20240605 for Intel(R) 64 architecture Intel(R) Advanced "
            "Vector Extensions 512 (Intel(R) AVX-512) enabled processors, Lnx 2.60GHz lp64 gnu_thread",
            (VERSION, "Intel(R) Advanced Vector Extensions 512 (Intel(R) AVX-512)"),
        ),
        ("", (None, None)),
    ],
    ids=["MKL", "none"],
)
def test_mkl_names_its_version_and_kernel(said, found):
    assert kernels.read_mkl(said) == found


def test_a_library_is_named_without_its_path():
    info = {"filepath": "/home/me/venv/scipy.libs/libopenblas.so", "internal_api": "openblas", "version": "0.3"}
    found = kernels.from_threadpoolctl(info | {"architecture": "Zen", "num_threads": 2})
    assert kernels.describe(found) == "scipy: openblas 0.3 Zen, 2 threads"


# ------------------------------------------------------------------------------------------ the page


def page_of(monkeypatch, forced, unset):
    """The page of a machine whose environment has these variables, or had them."""
    monkeypatch.setattr(environment, "_unset", unset)
    monkeypatch.setattr(environment, "forcing", lambda: forced)
    return page.measured(recorded([row(None, True, 1.0)]), "record.json")


def test_the_page_begins_with_the_kernels_that_a_user_forced(monkeypatch):
    text = page_of(monkeypatch, {"OPENBLAS_CORETYPE": "Haswell"}, {})
    assert text.startswith("**Kernels were forced.** The environment had `OPENBLAS_CORETYPE=Haswell`, and it was kept")


def test_the_page_says_what_was_unset_and_set(monkeypatch):
    text = page_of(monkeypatch, {}, {"MKL_CBWR": "`AVX2`\n# x"})
    assert "Unset for the measurement, because they force kernels: `MKL_CBWR=?AVX2?\\n# x`." in " ".join(
        text.split("\n")
    )
    assert "Set: `OPENBLAS_NUM_THREADS=1`" in text and "were forced" not in text
    assert "No variable of the environment forced kernels." in page_of(monkeypatch, {}, {})


def test_the_page_lists_every_library_with_its_kernel(monkeypatch):
    text = page_of(monkeypatch, {}, {})
    names = [line.partition(":")[0] for line in text.split("\n") if line.startswith("- ")]
    assert {"- numpy", "- scipy"} <= set(names) and len(names) == len(kernels.loaded())


@pytest.mark.parametrize(("least", "disturbed"), [(49.0, False), (11.0, True)])
def test_the_page_says_where_the_peak_was_disturbed(least, disturbed):
    """Of each dtype by itself: float32 is twice as fast."""
    peaks = {"float64 N=2": 52.0, "float64 N=3": least, "float32 N=2": 100.0}
    rows = [Row("gradient", f"elman {case}", "peak", page.PEAK_UNIT, alone(speed)) for case, speed in peaks.items()]
    text = " ".join(page.measured(recorded(rows), "record.json").split())
    assert ("**Disturbed:** the peak of float64 was 11 to 52 GFLOP/s, so" in text) is disturbed
    assert "peak of float32" not in text


OLD = json.dumps({"machine": {"blas": "openblas Haswell"}, "measured": {}, "rows": []})


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (None, "cannot be read: No such file or directory"),
        ("{", "is no record of benchmarks"),
        ("[]", "is no record of benchmarks"),
        (OLD, "does not say which variables forced kernels; measure again (make bench)"),
    ],
    ids=["missing", "cut", "list", "old"],
)
def test_a_file_that_is_no_record_is_refused(content, said, tmp_path, capsys):
    path = tmp_path / "record.json"
    if content is not None:
        path.write_text(content, encoding="utf-8")
    with pytest.raises(SystemExit) as refusal:
        suite.main(["--page", str(path), "--into", str(tmp_path / "page")])
    assert refusal.value.code == 2 and f"record.json: {said}" in capsys.readouterr().err
    assert not (tmp_path / "page").exists()
    assert record.of({"cpu": "new"}, path) == record.Record({"cpu": "new"})


# ------------------------------------------------------------------------------------------ the command line


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--only", "gradent"], "'gradent': must be one of gradient, gated, 'other cells', products, 'chosen lags', "),
        (["--only", "gradent"], "Did you mean 'gradient'?"),
        (["--rounds", "0"], "'0': must be an integer from 1 to 1000"),
        (["--rounds", "²"], "'²': must be an integer from 1 to 1000"),
        (["--keep"], "unrecognized arguments: --keep"),
    ],
)
def test_a_word_that_is_not_known_is_refused(words, said, capsys):
    with pytest.raises(SystemExit) as refusal:
        suite.main(words)
    assert refusal.value.code == 2 and said in capsys.readouterr().err


def test_rounds_are_those_requested():
    assert [Settings(rounds=3).protocol.rounds, Settings().protocol, Settings(True).protocol] == [3, FULL, QUICK]


def test_a_part_is_measured_into_a_folder_of_ones_own(tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(WORKLOADS, "gradient", lambda settings: iter([row(2.0, True, settings.protocol.rounds)]))
    monkeypatch.setattr(figures, "write", lambda folder, rows: [])
    assert suite.main(["--only", "gradient", "--rounds", "5", "--into", str(tmp_path)]) == 0
    assert "goal ≥ 2: met" in capsys.readouterr().out
    (path,) = tmp_path.glob("*.json")
    assert [one.spread.median for one in record.read(path).rows["gradient"]] == [5]
    assert "JAX / numpy | 5 (2.5–10) ×" in (tmp_path / "performance.md").read_text(encoding="utf-8")


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="needs /proc of Linux")
def test_memory_is_that_of_the_command_and_of_each_worker():
    child = "import sys; x = b'x' * 64_000_000; print('there', flush=True); sys.stdin.read()"
    code = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {child!r}])"
    found = processes.Taken()
    with subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        with processes.watched(process.pid, found):
            process.stdout.readline()
            time.sleep(4 * processes.EVERY)
        process.stdin.close()
    assert len(found.workers) == 1 and max(found.workers.values()) > 64_000_000 > found.parent > 1_000_000


def test_memory_of_a_process_that_has_ended_is_none():
    with subprocess.Popen([sys.executable, "-c", ""]) as process:
        process.wait()
    assert (processes.largest_memory(process.pid), processes.descendants(process.pid)) == (0, [])


@pytest.mark.slow
def test_the_command_measures_with_kernels_of_the_library():
    """End to end, with PyTorch's MKL asked for its kernel, too."""
    command = [sys.executable, "-m", "benchmarks", "--quick", "--only", "exponents", "--rounds", "1"]
    given = os.environ | {"OPENBLAS_CORETYPE": "Prescott"}
    done = subprocess.run(command, cwd=REPOSITORY, env=given, capture_output=True, text=True, timeout=300, check=True)
    assert "unset, because it forces kernels: OPENBLAS_CORETYPE=Prescott" in done.stdout
    assert "JAX / numpy" in done.stdout or "JAX" not in peers.peers()
