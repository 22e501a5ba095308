"""The command in the environments of users: it works, or one line says why not and what to do.

Every case is a process of its own. Those of other systems run here with what these systems lack taken away.
"""

import os
import shlex
import shutil
import subprocess
import sys

import pytest

from tests.support.commandline import REPOSITORY, run

SIZES = ["sequence_length=8", "cell.hidden_size=4", "batch_size=2"]
SWEEP = ["sweep", "study=x", "seed=0,1", "engine=numpy", "workers=2", *SIZES]


def everything(folder, **environment):
    """A sweep by two workers and its figures; the bytes of each figure."""
    for line in (SWEEP, ["tables", "study=x"], ["figures", "study=x", "size=column"]):
        done = run(sys.executable, "-m", "bpttlab", *line, cwd=folder, **environment)
        assert done.returncode == 0, done.stderr
        assert "Traceback" not in done.stderr
    return {path.name: path.read_bytes() for path in folder.glob("results/x/figures/*")}


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
    """The figures of an environment without anything strange."""
    return everything(tmp_path_factory.mktemp("plain"))


STRANGE = [
    {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},
    {"OMP_NUM_THREADS": "bogus", "OPENBLAS_NUM_THREADS": "-3"},
    {"TMPDIR": "{folder}/" + 90 * "x"},
    {"TMPDIR": "/no/such/folder"},
    {"HOME": "/no/such/folder", "XDG_CACHE_HOME": "/dev/null", "MPLCONFIGDIR": "/dev/null/x"},
    {"MPLBACKEND": "module://matplotlib_inline.backend_inline"},
    {"MPLBACKEND": "qtagg", "DISPLAY": ""},
    {"PYTHONOPTIMIZE": "2", "PYTHONDONTWRITEBYTECODE": "1"},
    {"COLUMNS": "bogus", "LINES": "0", "TERM": "dumb", "TZ": "Nowhere/Land"},
    {"GIT_DIR": "/no/such/folder", "GIT_WORK_TREE": "/"},
]


@pytest.mark.slow
@pytest.mark.parametrize("environment", STRANGE, ids=lambda environment: " ".join(environment))
def test_variables_of_a_user_change_no_figure(tmp_path, plain, environment):
    chosen = {name: value.format(folder=tmp_path) for name, value in environment.items()}
    for value in chosen.values():
        if value.startswith(str(tmp_path)):
            os.mkdir(value)
    assert everything(tmp_path, **chosen) == plain


@pytest.mark.slow
def test_a_matplotlibrc_of_the_folder_changes_no_figure(tmp_path, plain):
    text = "font.family: serif\ntext.usetex: True\naxes.grid: True\nsavefig.bbox: tight\nfigure.facecolor: red\n"
    (tmp_path / "matplotlibrc").write_text(text, encoding="utf-8")
    assert everything(tmp_path) == plain


LIMITS = ["ulimit -n 64", "ulimit -v 4000000", "umask 077", "exec 0<&-"]


@pytest.mark.slow
@pytest.mark.skipif(os.name != "posix", reason="limits of a shell")
@pytest.mark.parametrize("limit", LIMITS)
def test_limits_of_a_shell_are_enough(tmp_path, limit):
    command = shlex.join([sys.executable, "-m", "bpttlab", *SWEEP])
    done = run("bash", "-c", f"{limit}; {command}", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.slow
@pytest.mark.skipif(os.name != "posix", reason="streams of a shell")
@pytest.mark.parametrize("closed", ["1>&-", "2>&-", "1>&- 2>&-"])
def test_closed_streams_are_no_error(tmp_path, closed):
    command = shlex.join([sys.executable, "-m", "bpttlab", *SWEEP])
    assert run("bash", "-c", f"{command} {closed}", cwd=tmp_path).returncode == 0


# ------------------------------------------------------------------ other systems

IN_NUMPY = "sweep study=x seed=0,1 sequence_length=8 workers=0 engine=numpy"
WITHOUT_WORKERS = [IN_NUMPY, "tables study=x", "status study=x"]


def on_windows(folder, *lines):
    words = " ; ".join(lines).split(" ")
    return run(sys.executable, "-m", "tests.support.other_systems", *words, cwd=folder)


@pytest.mark.slow
def test_windows_sweeps_without_workers(tmp_path):
    done = on_windows(tmp_path, *WITHOUT_WORKERS, "sweep study=nul")
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1].startswith("bpttlab: study = 'nul': Windows has no folder of this name")
    assert "2 runs of 2 networks: 2 done" in done.stdout
    assert "Traceback" not in done.stderr


@pytest.mark.slow
def test_windows_compiles_its_loops(tmp_path):
    done = on_windows(tmp_path, IN_NUMPY.removesuffix(" engine=numpy"))
    assert done.returncode == 0, done.stderr
    assert "2 runs computed" in done.stdout


@pytest.mark.slow
def test_windows_draws_and_repeats_a_sweep(tmp_path):
    done = on_windows(tmp_path, *WITHOUT_WORKERS, "figures study=x", IN_NUMPY)
    assert done.returncode == 0, done.stderr
    assert "nothing to do: 2 done before" in done.stdout


# ------------------------------------------------------------------ compiled loops that have no usual place

PROGRAM = """
import bpttlab
from bpttlab.gradients.compiled import compilation
print(bpttlab.__file__, compilation.find_cache().kept, compilation.find_cache().remark)
"""


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("setpriv") is None or os.getuid() != 0, reason="drops a right that root has")
def test_a_package_that_cannot_be_written_is_compiled_elsewhere(tmp_path):
    pytest.importorskip("numba")
    package, home = tmp_path / "package", tmp_path / "home"
    shutil.copytree(REPOSITORY / "bpttlab", package / "bpttlab", ignore=shutil.ignore_patterns("__pycache__"))
    home.mkdir()
    subprocess.run(["chmod", "-R", "a-w", str(package), str(home)], check=True)
    rights = "-dac_override,-dac_read_search,-fowner"
    command = ["setpriv", "--bounding-set", rights, "--inh-caps", rights, sys.executable, "-c", PROGRAM]
    surroundings = {"PYTHONPATH": str(package), "HOME": str(home), "TMPDIR": str(tmp_path), "XDG_CACHE_HOME": str(home)}
    done = run(*command, cwd=tmp_path, **surroundings)
    subprocess.run(["chmod", "-R", "u+w", str(package), str(home)], check=True)
    assert done.stderr == ""
    assert done.stdout.startswith(f"{package}/bpttlab/__init__.py True they are kept in {tmp_path}/bpttlab-0/numba")
