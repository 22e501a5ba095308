"""The Tab key: what a line may become, and the shells that ask for it."""

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import get_args

import argcomplete
import pytest

from bpttlab import plugins
from bpttlab.cli import completion, main
from bpttlab.cli.figures import FORMAT, SIZE
from bpttlab.fields import allowed_values
from bpttlab.figures import style
from bpttlab.sweeps.configuration import Values
from bpttlab.sweeps.plan import Options
from tests.support.commandline import REPOSITORY, bpttlab, complete, run

OWN = """
from dataclasses import dataclass
from typing import Literal
from bpttlab.claims.experiment import Experiment
from bpttlab.tables.table import SummaryTable
from bpttlab.networks.initializers import Initializer

@dataclass(frozen=True)
class Sided(Initializer):
    name = "sided"
    side: Literal["left", "right"] = "left"

    def draw_unscaled(self, rng, size):
        return rng.standard_normal((size, size))

    def measure_realized(self, W):
        return 1.0

TABLE = SummaryTable("my_table", lambda study: study.runs)
QUESTION = Experiment("my_question", {"seed": 1})
"""


@pytest.fixture(autouse=True)
def home(studied, monkeypatch):
    """In the folder with a study called first; Hydra is requested to compose only once."""
    monkeypatch.chdir(studied)
    return studied


FIGURE_WORDS = [
    *("--help", "--verbose", "color=", "columns=", "experiment=", "figure=", "format=", "networks=", "plugins="),
    *("results=", "rows=", "size=", "style=", "where="),
]
"""What may follow `bpttlab figures study=first`."""


@pytest.mark.parametrize(
    ("line", "found"),
    [
        ("bpttlab s", ["status", "sweep"]),
        ("bpttlab help fi", ["figures"]),
        ("bpttlab nothing s", []),
        (
            "bpttlab figures ",
            sorted([*FIGURE_WORDS, "study="]),
        ),
        (
            "bpttlab figures study=first ",
            FIGURE_WORDS,
        ),
        ("bpttlab figures study=", ["study=first"]),
        ("bpttlab figures study=x", []),
        ("bpttlab figures study=first format=", ["format=pdf", "format=png", "format=svg"]),
        ("bpttlab tables study=f", ["study=first"]),
        ("bpttlab tables results=elsewhere study=", []),
        ("bpttlab tables all=", ["all=false", "all=true"]),
        ("bpttlab tables nothing=", []),
        ("bpttlab figures --verbose study=first fo", ["format="]),
        ("bpttlab tables results=", ["results=results/"]),
        ("bpttlab tables results=results/f", ["results=results/first/"]),
        ("bpttlab tables results=nowhere/f", None),
        ("bpttlab status study=first --", ["--help", "--json", "--watch"]),
        ("bpttlab claims experiment=vanish", ["experiment=vanishing_exploding"]),
        ("bpttlab verify g", ["gradients"]),
        ("bpttlab completion ", ["--help", "bash", "fish", "zsh"]),
        ("bpttlab sweep study=", ["study=first"]),
        ("bpttlab sweep --c", ["--cfg", "--config-dir"]),
        ("bpttlab sweep --cfg ", ["all", "hydra", "job"]),
        ("bpttlab sweep --config-dir r", ["results/"]),
        ("bpttlab sweep retry=", ["retry=failed", "retry=null"]),
        ("bpttlab sweep dtype=float64,", ["dtype=float64,float32"]),
        ("bpttlab sweep truncation=5,", ["truncation=5,full"]),
        ("bpttlab sweep engine=", ["engine=numba", "engine=numpy"]),
        ("bpttlab sweep readout=", ["readout=drawn", "readout=units"]),
        ("bpttlab sweep reduction=", ["reduction=mean", "reduction=sum"]),
        (
            "bpttlab sweep cell.activation=",
            [f"cell.activation={name}" for name in ("identity", "logistic", "relu", "softplus", "tanh")],
        ),
        ("bpttlab sweep cell.activation=tanh,r", ["cell.activation=tanh,relu"]),
        ("bpttlab sweep cell.reset=", ["cell.reset=after", "cell.reset=before"]),
        ("bpttlab sweep cell=elman,gru cell.reset=", ["cell.reset=after", "cell.reset=before"]),
        ("bpttlab sweep cell=elman cell.reset=", []),
        ("bpttlab sweep task=digits_rows task.by=", ["task.by=pixel", "task.by=row"]),
        ("bpttlab sweep initializer.rotated=", ["initializer.rotated=false", "initializer.rotated=true"]),
        ("bpttlab sweep measure.exponents=", ["measure.exponents=all", "measure.exponents=none"]),
        ("bpttlab tables study=first table=gr", ["table=growth"]),
        ("bpttlab figures study=first figure=pr", ["figure=products"]),
        ("bpttlab sweep seq", ["sequence_length="]),
        ("bpttlab sweep task=ad", ["task=adding"]),
        ("bpttlab sweep task=noise,ad", ["task=noise,adding"]),
        ("bpttlab sweep study=first cell.hid", ["cell.hidden_size="]),
        ("bpttlab sweep scheme=windowed,chunked scheme.k", ["scheme.k1="]),
        ("bpttlab sweep hyd", []),
        ("bpttlab sweep hydra/lau", ["hydra/launcher="]),
        ("bpttlab sweep task.path=./r", ["task.path=./results"]),
        ("bpttlab sweep experiment=van", ["experiment=vanishing_exploding"]),
        ("bpttlab sweep 'seed=range(0,8)' seed=", ["seed=0"]),
        ("bpttlab sweep --dry-run task=nois", ["task=noise"]),
        ("bpttlab sweep study=x --dry-run seed=1 task=nois", ["task=noise"]),
        ("bpttlab sweep scal", ["scales.U=", "scales.V=", "scales.b=", "scales.h_0=", "scales.x="]),
        ("bpttlab sweep tsk=1 task=nois", ["task=noise"]),
        ("bpttlab sweep 'task=nois", ["task=noise"]),
    ],
)
def test_what_a_line_may_become(line, found):
    if found is None:
        with pytest.raises(OSError, match="nowhere"):
            complete(line)
    else:
        assert complete(line) == found


def test_all_that_a_sweep_can_be_told():
    found = complete("bpttlab sweep ")
    assert {"task=", "task.", "seed=", "spectral_radius=", "study=", "scales.", "experiment="} <= set(found)
    assert not [word for word in found if word.startswith("hydra")]


def test_experiments_of_ones_own(tmp_path):
    tmp_path = tmp_path / "my experiments"
    tmp_path.mkdir()
    (tmp_path / "experiment").mkdir()
    (tmp_path / "experiment" / "short.yaml").write_text("# @package _global_\nseed: 1\n", encoding="utf-8")
    assert complete(f"bpttlab sweep --config-dir '{tmp_path}' experiment=sho") == ["experiment=short"]
    assert complete(f"bpttlab sweep '--config-dir={tmp_path}' experiment=sho") == ["experiment=short"]


def test_every_choice_of_a_field_completes():
    for kind in (Values, Options):
        for name, allowed in allowed_values(kind).items():
            words = complete(f"bpttlab sweep {name}=") if allowed.literals else []
            assert {f"{name}={choice}" for choice in allowed.literals} <= set(words)
    assert complete("bpttlab tables table=") == sorted(f"table={name}" for name in plugins.find_shipped("table"))


def test_fields_tables_and_experiments_of_ones_own(folder):
    (folder / "mine.py").write_text(OWN, encoding="utf-8")
    assert complete("bpttlab sweep plugins=mine.py initializer=sided initializer.side=l") == ["initializer.side=left"]
    assert complete("bpttlab tables plugins=mine.py table=my_") == ["table=my_table"]
    assert complete("bpttlab claims plugins=mine.py experiment=my_") == ["experiment=my_question"]


def test_tables_that_were_written_complete(folder):
    (folder / "results" / "first" / "tables").mkdir(parents=True)
    (folder / "results" / "first" / "tables" / "by_depth.csv").touch()
    assert complete("bpttlab tables study=first table=by") == ["table=by_depth"]
    assert complete("bpttlab tables table=by") == []


def test_keys_of_figures_have_the_values_of_figures():
    assert set(SIZE.choices) == set(get_args(style.Size))
    assert FORMAT.choices == style.FORMATS


# ------------------------------------------------------------------ as a shell asks


def ask(line, cwd, point=None, shell="bash", **more):
    """The exit code and the words that a shell receives."""
    answer = Path(cwd, "answer")
    variables = {"COMP_LINE": line, "COMP_POINT": str(len(line) if point is None else point), "_ARGCOMPLETE": "1"}
    variables |= {"_ARGCOMPLETE_SHELL": shell, "_ARGCOMPLETE_STDOUT_FILENAME": str(answer), **more}
    done = bpttlab(cwd=cwd, _ARGCOMPLETE_SUPPRESS_SPACE="1", **variables)
    assert done.stdout == ""
    words = answer.read_text(encoding="utf-8").split("\013")
    answer.unlink()
    return done.returncode, [word for word in words if word]


def test_a_shell_asks_with_its_variables(studied):
    assert ask("bpttlab swe", studied) == (0, ["sweep"])
    assert ask("bpttlab swe study=x", studied, point=11) == (0, ["sweep"])
    assert ask("path/to/bpttlab sweep task=ad", studied, shell="fish") == (0, ["task=adding"])
    assert ask("bpttlab tables study=fi", studied, shell="zsh") == (0, ["study=first:"])


@pytest.mark.slow
def test_a_tab_never_prints_an_error(studied):
    assert ask("bpttlab tables results=nowhere/x", studied) == (1, [])
    assert ask("bpttlab sweep --config-dir first task=ad", studied, HYDRA_FULL_ERROR="1")[1] == ["task=adding"]


@pytest.mark.parametrize("shell", completion.SHELLS)
def test_the_script_for_a_shell_is_printed(shell, capsys):
    assert main(["completion", shell]) == 0
    script = capsys.readouterr().out
    assert "bpttlab" in script
    if shutil.which(shell) is None:
        pytest.skip(f"{shell} is not here")
    assert subprocess.run([shell, "-n"], input=script, text=True, timeout=30, check=False).returncode == 0


# ------------------------------------------------------------------ in the shells


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    """A folder with the command, and with the scripts."""
    folder = tmp_path_factory.mktemp("bin")
    command = folder / "bpttlab"
    command.write_text(f'#!/bin/sh\nPYTHONPATH={REPOSITORY} exec {sys.executable} -m bpttlab "$@"\n', encoding="utf-8")
    command.chmod(0o755)
    for shell in completion.SHELLS:
        (folder / f"script.{shell}").write_text(argcomplete.shellcode(["bpttlab"], shell=shell), encoding="utf-8")
    return folder


PRESS_TAB = """\
source {script}
line={line}
COMP_LINE=$line COMP_POINT=${{#line}} COMP_WORDS=({words}) COMP_CWORD={index}
COMP_WORDBREAKS={breaks}
_python_argcomplete bpttlab
printf '%s\\n' "${{COMPREPLY[@]}}"
"""

USUAL = "$' \\t\\n\"\\'><=;|&(:'"


@pytest.mark.parametrize(
    ("line", "words", "breaks", "found"),
    [
        ("bpttlab sw", "bpttlab sw", USUAL, ["sweep"]),
        ("bpttlab tables study=fi", "bpttlab tables study = fi", USUAL, ["first"]),
        ("bpttlab tables study=fi", "bpttlab tables study=fi", "$' \\t\\n'", ["study=first"]),
        ("bpttlab sweep \\'task=ad", 'bpttlab sweep "\'task=ad"', USUAL, ["task=adding"]),
        pytest.param(
            "bpttlab sweep task=noise,ad",
            "bpttlab sweep task = noise,ad",
            USUAL,
            ["noise,adding"],
            marks=pytest.mark.slow,
        ),
        ("bpttlab figures format=", "bpttlab figures format =", USUAL, ["pdf", "png", "svg"]),
        pytest.param(
            "bpttlab sweep cell.hid", "bpttlab sweep cell.hid", USUAL, ["cell.hidden_size="], marks=pytest.mark.slow
        ),
    ],
)
def test_bash(path, studied, line, words, breaks, found):
    code = PRESS_TAB.format(
        script=path / "script.bash",
        line=line.replace(" ", "\\ "),
        words=words,
        index=len(words.split()) - 1,
        breaks=breaks,
    )
    done = run("bash", "-c", code, cwd=studied, PATH=f"{path}{os.pathsep}{os.environ['PATH']}")
    assert done.stderr == ""
    assert [answer.rstrip() for answer in done.stdout.splitlines()] == found


@pytest.mark.skipif(shutil.which("fish") is None, reason="fish is not here")
def test_fish(path, studied):
    for line, found in {"tables study=fi": "study=first", "sweep task=noise,ad": "task=noise,adding"}.items():
        code = f"source {path / 'script.fish'}; complete -C 'bpttlab {line}'"
        done = run("fish", "--no-config", "-c", code, cwd=studied, PATH=f"{path}{os.pathsep}{os.environ['PATH']}")
        assert done.stdout.split() == [found]


def press(shell, start, keys, cwd, environment):
    """What is on a terminal after the keys; a shell that completes needs one."""
    import pty
    import select

    child, terminal = pty.fork()
    if child == 0:  # pragma: no cover
        os.chdir(cwd)
        os.execvpe(shell[0], shell, environment)
    seen = b""

    def until(text, seconds=20.0):
        nonlocal seen
        end = time.monotonic() + seconds
        while text not in seen and time.monotonic() < end:
            if select.select([terminal], [], [], 0.1)[0]:
                seen += os.read(terminal, 65536)

    os.write(terminal, f"{start}; echo rea''dy\n".encode())
    until(b"ready")
    os.write(terminal, keys)
    until(b"study=first")
    os.close(terminal)
    os.waitpid(child, 0)
    return seen.decode(errors="replace")


@pytest.mark.parametrize(("shell", "options"), [("bash", ["--norc", "-i"]), ("zsh", ["-f", "-i"])])
def test_a_real_tab_on_a_real_terminal(path, studied, tmp_path, shell, options):
    if shutil.which(shell) is None:
        pytest.skip(f"{shell} is not here")
    environment = {"PATH": f"{path}{os.pathsep}{os.environ['PATH']}", "HOME": str(tmp_path), "TERM": "dumb"}
    seen = press([shell, *options], f"source {path}/script.{shell}", b"bpttlab tables study=fi\t", studied, environment)
    assert "bpttlab tables study=first" in seen
    assert not list(Path(studied).glob(".zcompdump*"))
