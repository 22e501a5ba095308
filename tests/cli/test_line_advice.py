"""A line that speaks another language than bpttlab is refused with the line to write, and that line is accepted."""

import re
import shlex
import subprocess

import pytest

from bpttlab.cli import main
from bpttlab.cli.sweep import next_commands
from bpttlab.sweeps.hydra_composition import composer
from bpttlab.sweeps.line_advice import advise
from tests.support.commandline import SMALL, visible

TYPED = [
    # what is typed, and the end of the message
    ("spectral_radius=[0.5,1.0]", "; write spectral_radius=0.5,1.0"),
    ("spectral_radius=(0.5,1.0)", "; write spectral_radius=0.5,1.0"),
    ("spectral_radius=0.5-1.5", "or 'spectral_radius=range(0.5,1.5,0.1)' for steps of 0.1 without the end"),
    ("seed=0..8", "; write 'seed=range(0,8)' for 0 to 7, 'seed=range(0,9)' for 0 to 8"),
    ("cell.hidden_size=8..16", "; write 'cell.hidden_size=range(8,16)' for 8 to 15,"),
    ("seed=range(0,8", "a parenthesis is not closed; write 'seed=range(0,8)'"),
    ("seed='range(0,8)'", "; write 'seed=range(0,8)'"),
    ("seed=[range(0,8)]", "; write 'seed=range(0,8)'"),
    ("task=nοise", "'ο' is the character GREEK SMALL LETTER OMICRON; write task=noise"),
    ("cell.path=a=b.npz", """'=' is not expected there; write "cell.path='a=b.npz'\""""),
    ("cell.path=größe.npz", """'ö' has to be in quotes; write "cell.path='größe.npz'\""""),
    ("cell=LSTM", "Did you mean 'lstm'?"),
    ("cell=RNN", "; write cell=elman"),
    ("truncation=none", "; write truncation=full"),
    ("seed:1", "; write seed=1"),
    ("seed＝1", "; write seed=1"),
]


@pytest.mark.parametrize(("typed", "told"), TYPED, ids=[ascii(typed) for typed, _ in TYPED])
def test_a_mistake_is_told_the_line_to_write(folder, capsys, typed, told):
    assert main(["sweep", "study=x", *SMALL[:2], typed]) == 2
    said = capsys.readouterr().err
    assert told in said
    assert said.count("\n") == 1
    assert visible(folder) == []


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--spectral_radius=1"], "a value has no dashes before its name; write spectral_radius=1"),
        (["--sequence-length", "50"], "write sequence_length=50"),
        (["--cell.hidden_size=4"], "write cell.hidden_size=4"),
        (["-seed"], "write seed=VALUE"),
        (["--dryrun"], "Did you mean '--dry-run'?"),
        (["--nothing=1"], "there is no option --nothing=1: --help, --dry-run,"),
        (["seed=1", "seed=2"], "seed is given twice (1, 2): give it once; seed=1,2 sweeps both"),
        (["task=noise", "+task=adding"], "task is given twice (noise, adding): give it once; task=noise,adding sweeps"),
        (["workers=1", "workers=2"], "workers is given twice (1, 2): give it once\n"),
        (["hydra.job.name=a", "hydra.job.name=b"], "hydra.job.name is given twice (a, b): give it once"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_options_that_are_values_and_keys_given_twice(folder, capsys, words, told):
    assert main(["sweep", "study=x", *words]) == 2
    assert told in capsys.readouterr().err


@pytest.mark.parametrize("command", ["tables", "figures", "status", "claims"])
def test_so_it_is_for_other_commands(folder, capsys, command):
    assert main([command, "--study=first"]) == 2
    assert "write study=first" in capsys.readouterr().err
    assert main([command, "study=größe"]) == 2
    assert "for example 'groesse'" in capsys.readouterr().err


def test_a_study_with_marks_on_its_letters_is_told_one_without(folder, capsys):
    assert main(["sweep", "study=größe"]) == 2
    said = capsys.readouterr().err
    assert "a study has a name of letters a-z and A-Z, digits, '.', '_' and '-'; write study=groesse" in said


ADVISED = [
    ("seed=0-8", "write 'seed=range(0,8)' for 0 to 7, 'seed=range(0,9)' for 0 to 8"),
    ("seed=0:8", "write 'seed=range(0,8)' for 0 to 7, 'seed=range(0,9)' for 0 to 8"),
    ("seed=[0:8]", "write 'seed=range(0,8)' for 0 to 7, 'seed=range(0,9)' for 0 to 8"),
    ("seed=8..0", "write 'seed=range(8,0,-1)'"),
    ("seed=0:8:2", "write 'seed=range(0,8,2)' (first, end, step)"),
    ("seed=0–8", "'–' is the character EN DASH; write 'seed=range(0,8)' for 0 to 7, 'seed=range(0,9)' for 0 to 8"),
    ('seed="range(0,8)"', "write 'seed=range(0,8)'"),
    ("seed='3'", "write seed=3"),
    ("seed={0,1}", "write seed=0,1"),
    ("seed=[0 1]", "write seed=0,1"),
    ("seed=[0, 1", "write seed=0,1"),
    ("seed=0;1", "write seed=0,1"),
    ("seed=0 1 2", "write seed=0,1,2"),
    ("seed=0,1,", "write seed=0,1"),
    ("seed==1", "write seed=1"),
    ("seed=Range(0,8)", "write 'seed=range(0,8)'"),
    ("seed=range(0,8,1,2)", "write range(first,end,step), with the step left out where it is 1"),
    ("seed=interval(0,8)", "write 'seed=range(0,8)'"),
    ("spectral_radius=np.arange(0,1,0.1)", "write 'spectral_radius=range(0,1,0.1)'"),
    ("spectral_radius=linspace(0,1,3)", "write spectral_radius=0,0.5,1"),
    ("spectral_radius=1/2", "write spectral_radius=0.5"),
    ("spectral_radius=“0.5”", "'“' is the character LEFT DOUBLE QUOTATION MARK; write spectral_radius=0.5"),
    ("spectral_radius=\u200b1", "'\\u200b' is the character ZERO WIDTH SPACE; write spectral_radius=1"),
    ("ѕeed=1", "'ѕ' is the character CYRILLIC SMALL LETTER DZE; write seed=1"),
    ("task.path=my file(1).txt", "write \"task.path='my file(1).txt'\""),
    ("cell.path=ä.npz,b=1.npz", "write \"cell.path='ä.npz','b=1.npz'\""),
    ("results=a=b", "write \"results='a=b'\""),
    ("study=my study", "a study has a name of letters a-z and A-Z, digits, '.', '_' and '-'; write study=my_study"),
    ("study=日本", "a study has a name of letters a-z and A-Z, digits, '.', '_' and '-'; write study=first"),
]


@pytest.mark.parametrize(("line", "advice"), ADVISED, ids=[ascii(line) for line, _ in ADVISED])
def test_how_others_write_it(line, advice):
    assert advise(line) == advice


@pytest.mark.parametrize(
    "line", ["seed=0", "spectral_radius=big", "task.path=0-8", "seed", "=", "seed=", "=1", "x" * 999]
)
def test_what_needs_no_advice_or_has_none(line):
    assert advise(line) == ""


def test_every_line_that_is_advised_can_be_read():
    reader = composer()
    advised = [word for _, told in [*ADVISED, *TYPED] for word in words_of(told)]
    assert len(advised) > 40
    for word in advised:
        assert reader.parse(word).value() is not None


def words_of(told):
    """The lines in an advice, as a shell gives them to the command."""
    _, _, advice = told.partition("write ")
    found = re.findall(r'"[^"]+"|\'[^\']+=[^\']+\'|[\w.]+=[^\s;]+', advice)
    return [shlex.split(word)[0] for word in found if "=" in word]


FOLDERS = [
    "it's",
    "$HOME,x",
    "c,\\",
    *(pytest.param(name, marks=pytest.mark.slow) for name in ("a,b", 'say "x",y')),
    *(pytest.param(name, marks=pytest.mark.slow) for name in ("a, b=c", "my results", "a'b,c", "a[1]", "[a,b]")),
    *(pytest.param(name, marks=pytest.mark.slow) for name in ("{a}", "a\\b,c")),
]


@pytest.mark.parametrize("name", FOLDERS)
def test_advice_for_a_folder_works_when_bash_reads_it(folder, capsys, name):
    line = f"results={name}"
    if main(["sweep", "study=x", *SMALL, line, "--dry-run"]):
        advised = capsys.readouterr().err.rstrip("\n").rpartition("; write ")[2]
        line = subprocess.run(["bash", "-c", f"printf %s {advised}"], capture_output=True, text=True, check=True).stdout
        assert main(["sweep", "study=x", *SMALL, line, "--dry-run"]) == 0
    (run,) = composer().expand([line])
    assert run["results"] == name
    typed = next_commands("x", run["results"], "")[0]
    words = subprocess.run(["bash", "-c", f"printf '%s\\n' {typed}"], capture_output=True, text=True, check=True).stdout
    assert f"results={name}" in words.splitlines()
