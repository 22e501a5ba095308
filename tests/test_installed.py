"""From a wheel, an editable installation or a checkout, in any folder: the same command, and nothing else is left."""

import shutil
import sys
import venv
import zipfile

import pytest

from tests.support.commandline import REPOSITORY, bpttlab, run, visible
from tests.support.extending import FILES, LINES

SHIPPED = ("bpttlab", "hydra_plugins", "conf", "experiments", "pyproject.toml", "README.md", "LICENSE")
SWEEP = ["sweep", "study=x", "experiment=vanishing_exploding", "seed=0", "spectral_radius=1", "sequence_length=10"]


@pytest.fixture
def source(tmp_path):
    """What is in the repository, with the litter of somebody who works there."""
    folder = tmp_path / "source"
    folder.mkdir()
    for name in SHIPPED:
        if (REPOSITORY / name).is_dir():
            shutil.copytree(REPOSITORY / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(REPOSITORY / name, folder / name)
    for place in ("experiments/vanishing_exploding", "conf", "bpttlab", "hydra_plugins/bpttlab_sweep"):
        (folder / place / "__pycache__").mkdir()
        (folder / place / "__pycache__" / "litter.cpython-311.pyc").write_bytes(b"x")
    return folder


@pytest.fixture
def environment(tmp_path):
    """An environment in which there is nothing but the dependencies, borrowed from this one; its folder of commands."""
    venv.create(tmp_path / "env", with_pip=False, system_site_packages=False)
    (site,) = (tmp_path / "env" / "lib").glob("python*/site-packages")
    here = [path for path in sys.path if path.endswith("site-packages")]
    (site / "dependencies.pth").write_text("\n".join(here), encoding="utf-8")
    return tmp_path / "env" / "bin"


def install(environment, *what):
    """Without dependencies and without a network."""
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--python", str(environment / "python")]
    options = ["--no-deps", "--no-index", "--no-build-isolation", "--ignore-installed"]
    done = run(*pip, "install", *options, *what, PYTHONPATH="")
    assert done.returncode == 0, done.stderr


def everything_works(command, folder):
    """A sweep, its tables and figures, in a folder of its own."""
    folder.mkdir()
    swept = run(command, *SWEEP, cwd=folder, PYTHONPATH="")
    assert swept.returncode == 0, swept.stderr
    assert "9 done" in swept.stdout
    for line in (["tables", "study=x"], ["figures", "study=x", "format=svg"], ["status", "study=x", "--json"]):
        done = run(command, *line, cwd=folder, PYTHONPATH="")
        assert (done.returncode, done.stderr) == (0, "")
    assert [path for path in visible(folder) if "/" not in path] == ["results"]
    assert run(command, "claims", "study=x", "experiment=vanishing", cwd=folder, PYTHONPATH="").stderr.count("\n") == 1
    asked = {"COMP_LINE": "bpttlab sweep sch", "COMP_POINT": "17", "_ARGCOMPLETE": "1", "_ARGCOMPLETE_IFS": " "}
    answer = folder.with_suffix(".answer")
    run(command, cwd=folder, PYTHONPATH="", _ARGCOMPLETE_STDOUT_FILENAME=str(answer), **asked)
    assert sorted(answer.read_text(encoding="utf-8").split()) == ["scheme.", "scheme="]


def own_parts_work(command, folder):
    """The parts of docs/extending.md, each from its file, in an empty folder with nothing else, by two workers."""
    folder.mkdir()
    for name, text in FILES.items():
        (folder / name).write_text(text, encoding="utf-8")
    for line in LINES:
        more = ["workers=2", "seed=0,1"] if line[0] == "sweep" else []
        done = run(command, *line, *more, cwd=folder, PYTHONPATH="")
        assert done.returncode == 0, (line, done.stderr)
    made = visible(folder / "results")
    assert {"own/tables/growth.csv", "mine/tables/activity.csv", "mine/figures/activity.png"} < set(made)
    for name in FILES:
        (folder / name).unlink()
    for line in (["tables", "study=own"], ["figures", "study=mine"], ["status", "study=own"]):
        assert run(command, *line, cwd=folder, PYTHONPATH="").returncode == 0
    again = run(command, "sweep", "study=own", "plugins=peephole.py", cwd=folder, PYTHONPATH="")
    assert (again.returncode, again.stderr.count("\n")) == (2, 1)


@pytest.mark.slow
def test_a_wheel(source, environment, tmp_path):
    built = run(sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path), cwd=source)
    assert built.returncode == 0, built.stderr
    (wheel,) = tmp_path.glob("*.whl")
    names = zipfile.ZipFile(wheel).namelist()
    assert not [name for name in names if "__pycache__" in name or name.endswith(".pyc")]
    assert {"bpttlab/conf/config.yaml", "bpttlab/experiments/vanishing_exploding/analysis.py"} < set(names)
    assert "hydra_plugins/bpttlab_sweep/sweeper.py" in names
    assert {"bpttlab/tasks/data/digits.npz", "bpttlab/tasks/data/declaration.txt"} < set(names)
    install(environment, str(wheel))
    shutil.rmtree(source)
    everything_works(str(environment / "bpttlab"), tmp_path / "elsewhere")
    own_parts_work(str(environment / "bpttlab"), tmp_path / "own")


@pytest.mark.slow
def test_an_editable_installation(source, environment, tmp_path):
    pytest.importorskip("editables", reason="hatchling needs it, and pip fetches it where there is a network")
    install(environment, "--editable", str(source))
    everything_works(str(environment / "bpttlab"), tmp_path / "elsewhere")
    (source / "conf" / "experiment" / "mine.yaml").write_text("# @package _global_\nseed: 1\n", encoding="utf-8")
    command = [str(environment / "bpttlab"), "sweep", "study=x", "experiment=mine", "--dry-run"]
    assert run(*command, cwd=tmp_path, PYTHONPATH="").returncode == 0


@pytest.mark.slow
def test_a_checkout_that_is_not_installed(tmp_path):
    done = bpttlab("sweep", "study=x", "task=adding", "--dry-run", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert visible(tmp_path) == []
