"""The command: what it prints, what it leaves behind, and one line for everything that a user can do wrong."""

import os
import shutil
import subprocess
import sys
import venv
from pathlib import Path

import pandas as pd
import pytest

import bpttlab
from bpttlab import checking, cli, places
from bpttlab.cli import main
from bpttlab.errors import ConfigurationError, LabError
from bpttlab.store import Store, load
from bpttlab.sweeping import failed

REPOSITORY = places.PACKAGE.parent
SMALL = ["workers=0", "sequence_length=8", "cell.hidden_size=4", "batch_size=2"]


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    """An empty current folder."""
    monkeypatch.chdir(tmp_path)
    for name in ("COLUMNS", "LINES"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path


@pytest.fixture(scope="module")
def studied(tmp_path_factory):
    """A folder with a small study called first."""
    home, before = tmp_path_factory.mktemp("studied"), Path.cwd()
    os.chdir(home)
    try:
        line = ["sweep", "study=first", "spectral_radius=0.5,1.5", "seed=range(0,3)", "truncation=full,3", *SMALL]
        assert main(line) == 0
    finally:
        os.chdir(before)
    return home


def visible(folder):
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


# ------------------------------------------------------------------ sweep


def test_a_sweep_says_what_it_does_and_the_same_line_again_does_nothing(folder, capsys):
    line = ["sweep", "study=first", "spectral_radius=0.5,1.0", "truncation=full,20", *SMALL]
    assert main(line) == 0
    first = capsys.readouterr().out.splitlines()
    assert first[:3] == [
        "study first: 4 runs of 2 networks",
        "  4 runs to do, in 2 bundles",
        "  a truncation no shorter than the sequence is the full gradient: 2 runs (20 of 8 steps)",
    ]
    assert first[3].startswith("4 runs computed in ")
    assert first[4:] == [
        "results are in results/first",
        "next: bpttlab tables study=first",
        "      bpttlab figures study=first",
    ]
    assert visible(folder)[:2] == ["results", "results/first"]
    before = visible(folder)
    assert main(line) == 0
    assert "nothing to do: 4 done before" in capsys.readouterr().out
    assert visible(folder) == before


def test_a_dry_run_says_what_would_be_done_and_writes_nothing(folder, capsys):
    line = ["study=first", "task=noise,adding", "spectral_radius=0.5,1", "truncation=full,2,5", "seed=range(0,2)"]
    assert main(["sweep", *line, "--dry-run"]) == 0
    assert capsys.readouterr().out == "study first: 24 runs of 8 networks\n  24 runs to do, in 8 bundles\n"
    assert visible(folder) == []


def test_the_configuration_is_shown_with_the_first_of_swept_values(folder, capsys):
    assert main(["sweep", "spectral_radius=0.5,1.0", "--cfg", "job", "task=glob(a*)", "seed=4"]) == 0
    shown = capsys.readouterr().out
    assert shown.startswith("# swept, shown with the first value: spectral_radius=0.5,1.0 task=glob(a*)\nstudy: null\n")
    assert {"spectral_radius: 0.5", "seed: 4", "  name: adding"} < set(shown.splitlines())
    assert visible(folder) == []


def test_experiments_of_ones_own_are_found(folder, capsys):
    own = folder / "mine" / "experiment"
    own.mkdir(parents=True)
    (own / "short.yaml").write_text("# @package _global_\nsequence_length: 3\nstudy: short\n", encoding="utf-8")
    assert main(["sweep", "--config-dir", "mine", "experiment=short", "--dry-run"]) == 0
    assert capsys.readouterr().out.startswith("study short: 1 run of 1 network")
    assert main(["sweep", "--config-dir", "mine", "experiment=shot"]) == 2
    assert "Did you mean 'short'?" in capsys.readouterr().err


def test_a_failed_run_makes_the_exit_code_one(capsys):
    assert main(["sweep", "study=x", *SMALL]) == 0
    (run_id,) = Store("results", "x").configurations()
    run = bpttlab.Configuration.parse({"seed": 1, "sequence_length": 8})
    Store("results", "x").publish([failed(run, "power cut")])
    line = ["sweep", "study=x", "sequence_length=8", "seed=1", "workers=0", "task.input_size=1"]
    assert main(line) == 1
    assert "failed before: 1, not tried again (retry=failed does)" in capsys.readouterr().out
    assert main([*line, "retry=failed"]) == 0
    assert set(load("x").runs["status"]) == {"done"}
    assert run_id != run.run_id


def test_ctrl_c_keeps_what_is_done_and_says_how_to_go_on(monkeypatch, capsys):
    from bpttlab import sweeping

    def stopped(planned, *_):
        return sweeping.Tally(interrupted=2)

    monkeypatch.setattr(sweeping, "execute", stopped)
    assert main(["sweep", "study=x", "seed=range(0,3)"]) == 130
    assert "go on with: bpttlab sweep study=x 'seed=range(0,3)'\n" in capsys.readouterr().out


# ------------------------------------------------------------------ tables, figures, status


def test_tables_are_printed_and_written(studied, monkeypatch, capsys):
    monkeypatch.chdir(studied)
    assert main(["tables", "study=first"]) == 0
    printed = capsys.readouterr().out
    assert "growth  (results/first/tables/growth.{csv,md,tex})" in printed
    assert "vanishing" in printed
    written = sorted(path.name for path in Path("results/first/tables").iterdir())
    names = ("critical_spectral_radius", "growth", "truncation_bias")
    assert written == sorted(f"{name}.{ending}" for name in names for ending in ("csv", "md", "tex"))
    assert len(pd.read_csv("results/first/tables/growth.csv")) == 2


def test_figures_are_drawn_again_with_the_same_bytes(studied, monkeypatch, capsys):
    monkeypatch.chdir(studied)
    drawn = []
    for _ in range(2):
        assert main(["figures", "study=first", "format=svg", "size=column"]) == 0
        drawn.append({path.name: path.read_bytes() for path in Path("results/first/figures").iterdir()})
    assert drawn[0] == drawn[1]
    assert {"growth.svg", "products.svg"} <= set(drawn[0])
    assert "not drawn: triangle: " in capsys.readouterr().out


def test_status_counts_and_gives_reasons_and_names_mixed_versions(studied, monkeypatch, capsys, tmp_path):
    shutil.copytree(studied / "results", tmp_path / "results")
    monkeypatch.chdir(tmp_path)
    assert main(["status", "study=first"]) == 0
    assert capsys.readouterr().out == "results/first: 12 runs of 6 networks: 12 done\n"
    assert cli.mixtures(load("first").provenance) == []
    for seed in (50, 51):
        run = bpttlab.Configuration.parse({"seed": seed})
        record = failed(run, "power cut")
        record.provenance["numpy"] = "0.0.1"
        Store("results", "first").publish([record])
    assert main(["status", "study=first"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[:2] == ["results/first: 14 runs of 8 networks: 12 done, 2 failed", "failed, 2 ×: power cut"]
    assert lines[2].startswith("mixed: numpy 0.0.1, ")


# ------------------------------------------------------------------ claims, verify


def test_claims_are_held_against_a_study(studied, monkeypatch, capsys, tmp_path):
    analysis = tmp_path / "experiments" / "odd" / "analysis.py"
    analysis.parent.mkdir(parents=True)
    text = "import pandas as pd\ndef claims(study):\n    n = len(study.runs)\n    return pd.DataFrame([dict("
    text += "claim='runs', source='counted', expected='12', measured=n, tolerance=0, held=(n == {}))])\n"
    monkeypatch.setattr(places, "experiments", lambda: tmp_path / "experiments")
    monkeypatch.chdir(studied)
    for number, code in ((12, 0), (13, 1)):
        analysis.write_text(text.format(number), encoding="utf-8")
        assert main(["claims", "study=first", "experiment=odd"]) == code
        shown = capsys.readouterr().out.splitlines()
        assert shown[0] == f"{'FAILS' if code else 'holds'}  runs: 12, expected 12 (counted)"
        assert shown[-1] == f"{1 - code} of 1 claims of odd hold in results/first"
    assert main(["claims", "study=first"]) == 1
    analysis.write_text("def claims(study):\n    return study.runs['no such column']\n", encoding="utf-8")
    assert main(["claims", "study=first"]) == 2
    assert "was it swept with experiment=odd?" in capsys.readouterr().err
    assert main(["claims", "study=first", "experiment=od"]) == 2
    assert "Did you mean 'odd'?" in capsys.readouterr().err
    shutil.copytree(tmp_path / "experiments" / "odd", tmp_path / "experiments" / "even")
    assert main(["claims", "study=first"]) == 2
    assert "experiment is missing: must be one of even, odd" in capsys.readouterr().err


def test_verify_prints_a_table_and_fails_if_one_check_does_not_hold(monkeypatch, capsys):
    row = {"activation": "tanh", "loss": "squared_error", "reduction": "mean", "dtype": "float64", "scheme": "full"}
    good = {**row, "oracle": "literal sum", "error": 1e-15, "tolerance": 1e-12, "held": True}
    bad = {**row, "oracle": "complex step", "error": 1e-3, "tolerance": 1e-11, "held": False}
    monkeypatch.setattr(checking, "verify_gradients", lambda: pd.DataFrame([good, good]))
    assert main(["verify", "gradients"]) == 0
    assert "2 of 2 checks of the gradient hold" in capsys.readouterr().out
    monkeypatch.setattr(checking, "verify_gradients", lambda: pd.DataFrame([good, bad]))
    assert main(["verify"]) == 1
    shown = capsys.readouterr().out
    assert "1 of 2 checks of the gradient hold" in shown
    assert "do not hold:" in shown


# ------------------------------------------------------------------ what a user can do wrong


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("swep study=x", "Did you mean 'sweep'?"),
        ("sweep", "study is missing"),
        ("sweep study=x tsk=noise", "Did you mean 'task'?"),
        ("sweep study=x task=nois", "Did you mean 'noise'?"),
        ("sweep study=x task=nois,adding", "Did you mean 'noise'?"),
        ("sweep study=x spectral_radius=0.5,-1", "spectral_radius=-1"),
        ("sweep study=x spectral_radius=nan", "spectral_radius=nan"),
        ("sweep study=x sequence_length=0", "sequence_length=0"),
        ("sweep study=x cell.hidden_size=0", "hidden_size=0"),
        ("sweep study=x truncation=ful", "Did you mean 'full'?"),
        ("sweep study=x dtype=float16", "dtype='float16'"),
        ("sweep study=x initializer=gaussian spectral_radius=1", "gain"),
        ("sweep study=x +cell.depth=2", "depth"),
        ("sweep study=x ~cell.hidden_size", "hidden_size"),
        ("sweep study=x,y", "one value holds for a whole sweep"),
        ("sweep study=../x", "study = '../x'"),
        ("sweep study=x workers=two", "workers='two'"),
        ("sweep study=x retry=fail", "Did you mean 'failed'?"),
        ("sweep study=x results=file", "file"),
        ("sweep study=x --dryrun", "Did you mean '--dry-run'?"),
        ("sweep study=x --cfg everything", "everything"),
        ("sweep study=x --config-dir nowhere", "there is no such folder"),
        ("sweep study=x hydra.mode=RUN", "is a sweep"),
        ("sweep study=x hydra/launcher=slurm", "slurm"),
        ("sweep study=x seed=range(0,3", "cannot read"),
        ("tables", "study is missing: say study=NAME"),
        ("tables study=x", "results"),
        ("tables stdy=x", "Did you mean 'study'?"),
        ("tables study", "must be study=VALUE"),
        ("tables study=", "must be study=VALUE"),
        ("tables study=x results=nowhere", "nowhere"),
        ("figures study=x size=huge", "column or page"),
        ("figures study=x sise=page", "Did you mean 'size'?"),
        ("status study=.x", "study = '.x'"),
        ("claims study=x experiment=vanishing", "Did you mean 'vanishing_exploding'?"),
        ("verify gradient", "Did you mean 'gradients'?"),
    ],
)
def test_what_is_wrong_is_said_in_one_line_and_nothing_is_left_behind(folder, capsys, line, said):
    (folder / "file").write_text("not a folder", encoding="utf-8")
    assert main(line.split()) == 2
    output = capsys.readouterr()
    assert said in output.err
    assert output.err.startswith("bpttlab: ")
    assert output.err.count("\n") == 1
    assert visible(folder) == ["file"]


def test_a_format_that_there_is_not_is_refused(studied, monkeypatch, capsys):
    monkeypatch.chdir(studied)
    assert main(["figures", "study=first", "format=gif"]) == 2
    assert "png, svg or pdf" in capsys.readouterr().err


def test_interruptions_and_errors_have_their_exit_codes(monkeypatch, capsys):
    def raising(error):
        def command(_):
            raise error

        monkeypatch.setitem(cli.COMMANDS, "status", (command, ""))
        return main(["status"])

    assert raising(LabError("too little of everything")) == 2
    assert capsys.readouterr().err == "bpttlab: too little of everything\n"
    assert raising(KeyboardInterrupt()) == 130
    assert capsys.readouterr().err == "bpttlab: interrupted\n"


def test_key_values():
    defaults = {"study": cli.REQUIRED, "format": "png"}
    assert cli.key_values(["study=a=b"], defaults) == {"study": "a=b", "format": "png"}
    with pytest.raises(ConfigurationError, match="Did you mean 'format'"):
        cli.key_values(["study=a", "fromat=svg"], defaults)


# ------------------------------------------------------------------ help


@pytest.mark.parametrize("command", sorted(cli.COMMANDS))
def test_every_command_teaches_by_example(command, capsys):
    assert main([command, "--help"]) == 0
    shown = capsys.readouterr().out
    assert shown.startswith(f"bpttlab {command} ")
    assert shown.count(f"\n  bpttlab {command} ") >= 1
    assert max(map(len, shown.splitlines())) <= 120


def test_the_help_names_every_command_and_every_group(capsys):
    assert main(["--help"]) == 0
    shown = capsys.readouterr().out
    assert all(f"bpttlab {command} " in shown for command in cli.COMMANDS)
    for group in ("cell", "task", "scheme", "initializer", "measure"):
        for file in Path(places.conf(), group).glob("*.yaml"):
            assert file.stem in cli.SWEEP_HELP, f"{group}={file.stem}"


def test_without_a_command_there_is_help_and_a_bad_exit_code(capsys):
    assert main([]) == 2
    assert "bpttlab sweep" in capsys.readouterr().out


def run(*words, cwd=None, **environment):
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY), **environment}
    return subprocess.run(words, cwd=cwd, env=environment, capture_output=True, text=True, timeout=120, check=False)


def test_help_is_there_at_once():
    code = "import sys; from bpttlab.cli import main; main(['--help']); print(*sys.modules)"
    done = run(sys.executable, "-c", code)
    loaded = set(done.stdout.splitlines()[-1].split())
    assert not loaded & {"numpy", "pandas", "scipy", "hydra", "pyarrow", "matplotlib"}


def test_a_reader_that_has_seen_enough_is_no_error(studied):
    command = f"{sys.executable} -m bpttlab tables study=first | head -1 >/dev/null; echo ${{PIPESTATUS[0]}}"
    done = run("bash", "-c", command, cwd=studied)
    assert done.stderr == ""
    assert done.stdout in ("0\n", "141\n")


# ------------------------------------------------------------------ installed


@pytest.mark.slow
def test_a_wheel_works_in_any_folder(tmp_path):
    """Built, installed without its dependencies (they are here), run where nothing of the checkout is."""
    source = tmp_path / "source"
    source.mkdir()
    for name in ("bpttlab", "hydra_plugins", "conf", "experiments", "pyproject.toml", "README.md", "LICENSE"):
        copy = shutil.copytree if (REPOSITORY / name).is_dir() else shutil.copy
        copy(REPOSITORY / name, source / name)
    built = run(sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path), cwd=source)
    assert built.returncode == 0, built.stderr
    (wheel,) = tmp_path.glob("*.whl")
    venv.create(tmp_path / "env", with_pip=True, system_site_packages=False)
    python = tmp_path / "env" / "bin" / "python"
    here = [path for path in sys.path if path.endswith("site-packages")]
    (site,) = (tmp_path / "env" / "lib").glob("python*/site-packages")
    (site / "dependencies.pth").write_text("\n".join(here), encoding="utf-8")
    assert run(str(python), "-m", "pip", "install", "--no-deps", "--no-index", str(wheel)).returncode == 0
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    command = str(tmp_path / "env" / "bin" / "bpttlab")
    line = ["sweep", "study=x", "experiment=vanishing_exploding", "seed=0", "spectral_radius=1", "sequence_length=10"]
    swept = run(command, *line, cwd=elsewhere, PYTHONPATH="")
    assert swept.returncode == 0, swept.stderr
    assert "9 done" in swept.stdout
    assert sorted(path.name for path in elsewhere.iterdir()) == ["results"]
