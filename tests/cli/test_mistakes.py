"""The first ten minutes: whatever is wrong on the line is one line on stderr, exit code 2, and nothing left behind."""

import shlex
import sys
from contextlib import nullcontext

import numpy as np
import pytest

from bpttlab.cli import main
from tests.support.commandline import SMALL, bpttlab, run, visible

MISTAKES = [
    # commands and options
    ("swep study=x", "Did you mean 'sweep'?"),
    ("figure study=x", "Did you mean 'figures'?"),
    ("help swep", "Did you mean 'sweep'?"),
    ("study=x seed=1", "there is no command 'study=x'"),
    ("sweep study=x --dryrun", "Did you mean '--dry-run'?"),
    ("sweep study=x --cfg everything", "--cfg=everything: must be one of job, hydra, all."),
    ("tables study=x format=pdf", "format=pdf: tables has no word 'format'; it has study, table, columns,"),
    ("verify table=growth", "verify has no word 'table'; it has results."),
    ("sweep study=x --cfg", "--cfg"),
    ("status study=x --jsn", "Did you mean '--json'?"),
    ("tables study=x --json", "--json"),
    ("completion", "which shell?"),
    ("completion bsh", "Did you mean 'bash'?"),
    ("verify gradient", "Did you mean 'gradients'?"),
    ("--versoin", "there is no option '--versoin': -h, --help, --version. Did you mean '--version'?"),
    ("help --json", "there is no option '--json'"),
    ("figures study=x --verbos", "Did you mean '--verbose'?"),
    ("tables study=x all=maybe", "all=maybe: must be true or false"),
    # groups, fields, values
    ("sweep study=x tsk=noise", "Did you mean 'task'?"),
    ("sweep study=x seed=range(0,8", "a parenthesis is not closed"),
    ("sweep study=x cell={name:elman", "a brace is not closed"),
    ("sweep study=x task=adding task.foo=1", "task 'adding' has no fields"),
    ("sweep study=x scheme=chunked scheme.offset=abc", "scheme.offset='abc': must be an integer >= 0"),
    ("sweep study=x task=nois", "Did you mean 'noise'?"),
    ("sweep study=x task=nois,adding", "Did you mean 'noise'?"),
    ("sweep study=x radius=1", "radius"),
    ("sweep study=x spectralradius=1", "Did you mean 'spectral_radius'?"),
    ("sweep study=x hidden_size=3", "Did you mean 'cell.hidden_size'?"),
    ("sweep study=x cell.hiden_size=3", "Did you mean 'hidden_size'?"),
    ("sweep study=x cell/hidden_size=3", "cell/hidden_size"),
    ("sweep study=x --seed=3", "there is no option --seed=3"),
    ("sweep study=x --seed 3", "there is no option --seed"),
    ("sweep study=x spectral_radius=0.5,-1", "spectral_radius=-1"),
    ("sweep study=x spectral_radius=nan", "spectral_radius=nan"),
    ("sweep study=x spectral_radius=big", "spectral_radius='big'"),
    ("sweep study=x sequence_length=0", "sequence_length=0"),
    ("sweep study=x sequence_length=1.5", "sequence_length=1.5"),
    ("sweep study=x sequence_length=1e-3", "sequence_length=0.001"),
    ("sweep study=x seed=-1", "seed=-1"),
    ("sweep study=x seed=", "seed=''"),
    ("sweep study=x cell.hidden_size=0", "hidden_size=0"),
    ("sweep study=x cell.activation=tanhh", "Did you mean 'tanh'?"),
    ("sweep study=x truncation=ful", "Did you mean 'full'?"),
    ("sweep study=x truncation=0", "truncation=0"),
    ("sweep study=x truncation=-5", "truncation=-5"),
    ("sweep study=x dtype=float16", "dtype='float16'"),
    ("sweep study=x initializer=gaussian spectral_radius=1", "gain"),
    ("sweep study=x +cell.depth=2", "depth"),
    ("sweep study=x ~cell.hidden_size", "hidden_size"),
    # files of one's own
    ("sweep study=x cell=from_fil", "Did you mean 'from_file'?"),
    ("sweep study=x cell=from_file", "cell.path: must name a file of yours"),
    (
        "sweep study=x cell=from_file cell.path=model.safetensors",
        "cell.path='model.safetensors': there is no such file",
    ),
    ("sweep study=x cell=from_file cell.path=nett.npz", "Did you mean 'net.npz'?"),
    ("sweep study=x cell=from_file cell.path=file", "cell.path='file': must end in .safetensors, .npz"),
    ("sweep study=x cell=from_file cell.path=there", "cell.path='there': is not a file"),
    ("sweep study=x cell=from_file cell.path=model.pt", "save_file(model.state_dict(), 'model.safetensors')"),
    ("sweep study=x cell=from_file cell.path=net.npz", "cell.activation: must be given"),
    ("sweep study=x cell=from_file cell.path=net.npz cell.activation=rely", "Did you mean 'relu'?"),
    ("sweep study=x cell=from_file cell.path=net.npz cell.activation=relu", "set task.input_size=3"),
    (
        "sweep study=x cell=from_file cell.path=net.npz cell.activation=relu cell.recurrent_prefix=rnn",
        "recurrent_prefix",
    ),
    ("sweep study=x cell=from_file cell.path=net.npz cell.hidden_size=3", "hidden_size"),
    ("sweep study=x initializer=none", "initializer='none': this cell's W has to be drawn"),
    ("sweep study=x cell=diagonal spectral_radius=0.9", "has no matrix W to draw"),
    ("sweep study=x experiment=vanishing", "Did you mean 'vanishing_exploding'?"),
    ("sweep study=x workers=two", "workers='two'"),
    ("sweep study=x workers=-1", "workers=-1"),
    ("sweep study=x retry=fail", "Did you mean 'failed'?"),
    # tasks
    ("sweep study=x task=multiplication sequence_length=1", "sequence_length=1: must be an integer >= 2"),
    ("sweep study=x task=delayed_recall task.delay=-1", "task.delay=-1: must be an integer >= 0"),
    ("sweep study=x task=delayed_recall task.delay=long", "task.delay='long': must be an integer"),
    ("sweep study=x task=delayed_recall task.delay=50", "sequence_length=50: must be an integer >= 51"),
    ("sweep study=x task=temporal_order task.symbols=4", "task.symbols=4: must be 2 or 3"),
    ("sweep study=x task=temporal_order task.symbols=two", "task.symbols='two': must be 2 or 3"),
    ("sweep study=x task=parity task.bits=3", "task.bits"),
    ("sweep study=x task=random_permutation task.alphabet=2", "task.alphabet=2: must be an integer >= 3"),
    ("sweep study=x task=random_permutation task.alphabet=2.5", "task.alphabet=2.5: must be an integer"),
    ("sweep study=x task=memorization", "Did you mean 'memorization_5bit'?"),
    ("sweep study=x task=memorization_5bit task.symbols=0", "task.symbols=0: must be an integer >= 1"),
    ("sweep study=x task=memorization_5bit task.alphabet=1", "task.alphabet=1: must be an integer >= 2"),
    ("sweep study=x task=memorization_20bit sequence_length=20", "sequence_length=20: must be an integer >= 21"),
    ("sweep study=x task=mackey_glass task.horizon=0", "task.horizon=0: must be an integer >= 1"),
    ("sweep study=x task=lorenz task.horizon=0.5", "task.horizon=0.5: must be an integer"),
    ("sweep study=x task=characters task.path=fil", "Did you mean 'file'?"),
    ("sweep study=x task=characters task.path=there", "task.path='there': is not a file"),
    ("sweep study=x task=characters task.path=3", "task.path=3: must be a string"),
    ("sweep study=x task=characters task.path=conf/experiment/latin.yaml", "is not text in UTF-8: byte 22"),
    ("sweep study=x task=characters task.content=0", "task.content=0: must be a string"),
    (
        "sweep study=x task=characters task.content=abc",
        "task.content: SHA-256 mismatch: expected abc, the shipped text",
    ),
    ("sweep study=x task=characters task.path=file sequence_length=12", "must be at most 11, the characters of file"),
    ("sweep study=x task=characters sequence_length=8149", "batch_size=8: task 'characters' has 1 sequence"),
    # Hydra's own
    ("sweep study=x hydra.mode=RUN", "is a sweep"),
    ("sweep study=x hydra/launcher=slurm", "slurm"),
    ("sweep study=x hydra.nothing=1", "nothing"),
    # what a shell does
    ("sweep study=x 'seed=range(0,3'", "cannot read"),
    ("sweep study=x 'seed=[0,1'", "cannot read"),
    ("sweep study=x seed=0, 1", "no spaces"),
    ("sweep study=x seed =3", "'seed' is not KEY=VALUE"),
    ("sweep study = x", "'study' is not KEY=VALUE"),
    ("sweep first", "'first' is not KEY=VALUE"),
    ("sweep study=x ''", "'' is not KEY=VALUE"),
    ("sweep study=x =3", "the key is missing"),
    ("sweep study=x seed=${nothing}", "nothing"),
    ("sweep study=x seed=0,1,", "cannot read"),
    ("sweep study=x 'seed=range(3,3)'", "holds no value"),
    ("sweep study=x 'seed=0;1'", "seed"),
    ("tables study", "must be study=NAME"),
    ("tables study=", "there is no study in results: run a sweep first"),
    ("tables study = x", "must be study=NAME"),
    # studies and folders
    ("sweep", "study is missing"),
    ("sweep seed=0,1", "study is missing"),
    ("sweep study=x,y", "one value holds for a whole sweep"),
    ("sweep study=x study=y", "study is given twice (x, y): give it once"),
    ("sweep study=../x", "study = '../x'"),
    ("sweep study=a/b", "study = 'a/b'"),
    ("sweep 'study=my study'", "study = 'my study'"),
    ("sweep study=étude", "study=étude"),
    ("sweep study=x\udcff", "cannot read 'study=x\\udcff'"),
    ("sweep study=3", "study=3: must be a string"),
    ("sweep study=null", "study is missing"),
    ("sweep study=x results=file", "file"),
    ("sweep study=x results=file/deeper", "file"),
    ("sweep study=x results=/proc/nowhere", "/proc"),
    ("sweep study=x results=null", "results"),
    ("sweep study=x --config-dir nowhere", "there is no such folder"),
    ("sweep study=x --config-dir file", "there is no such folder"),
    ("sweep study=x --config-dir", "--config-dir"),
    ("sweep study=x --config-dir conf experiment=latin", "conf/experiment/latin.yaml: is not text in UTF-8: byte 22"),
    (
        "sweep study=x --config-dir conf experiment=broken",
        "conf/experiment/broken.yaml, line 3: cannot be read as YAML",
    ),
    ("sweep study=x --config-dir conf experiment=text", "experiment"),
    ("tables", "study is missing: say study=NAME"),
    ("tables study=x", "results"),
    ("tables stdy=x", "Did you mean 'study'?"),
    ("tables study=a/b", "study = 'a/b'"),
    ("tables study=x study=y", "study is given twice (x, y): give it once"),
    ("tables study=x,y", "study = 'x,y'"),
    ("tables study=x results=nowhere", "nowhere"),
    ("tables study=x results=file", "file"),
    ("figures study=x", "run a sweep first"),
    ("figures study=x size=huge", "page or column"),
    ("figures study=x sise=page", "Did you mean 'size'?"),
    ("figures study=x results=there", "there is no study 'x' in there"),
    ("figures study=empty results=there", "has no runs yet"),
    ("tables study=empty results=there", "has no runs yet"),
    ("status study=empty results=there", "has no runs yet"),
    ("status study=empti results=there --watch", "no study 'empti'"),
    ("status study=.x", "study = '.x'"),
    ("status study=x", "run a sweep first"),
    ("claims study=x experiment=vanishing", "Did you mean 'vanishing_exploding'?"),
    ("claims study=empty results=there experiment=x", "experiment=x: must be one of "),
    ("claims study=empty results=there experiment=what_truncation_costs", "has no runs yet"),
]


@pytest.fixture
def workplace(folder, monkeypatch):
    """A folder with something in it already; no worker imports ahead what a mistake never needs."""
    monkeypatch.setattr("bpttlab.cli.sweep.start_workers", lambda words, dry_run: nullcontext())
    (folder / "file").write_text("not a folder", encoding="utf-8")
    np.savez(folder / "net.npz", weight_ih_l0=np.ones((2, 3)), weight_hh_l0=np.ones((2, 2)))
    (folder / "there" / "empty" / "store" / "runs").mkdir(parents=True)
    own = folder / "conf" / "experiment"
    own.mkdir(parents=True)
    (own / "latin.yaml").write_bytes("# @package _global_\n# é\nseed: 1\n".encode("latin-1"))
    (own / "broken.yaml").write_text("# @package _global_\nseed: [1\n", encoding="utf-8")
    (own / "text.yaml").write_text("only words\n", encoding="utf-8")
    return folder


@pytest.mark.parametrize(("line", "said"), MISTAKES, ids=[ascii(line) for line, _ in MISTAKES])
def test_a_mistake_is_one_line_and_leaves_nothing_behind(workplace, capsys, line, said):
    before = visible(workplace)
    assert main(shlex.split(line)) == 2
    output = capsys.readouterr()
    assert said in output.err
    assert output.err.startswith("bpttlab: ")
    assert output.err.count("\n") == 1
    assert visible(workplace) == before


@pytest.mark.parametrize(
    "line",
    [
        "swep",
        "sweep study=x results=file",
        *(pytest.param(line, marks=pytest.mark.slow) for line in ("sweep study=x tsk=1", "figures study=x")),
    ],
)
def test_and_so_it_is_in_a_process_of_its_own(workplace, line):
    before = visible(workplace)
    done = bpttlab(*line.split(), cwd=workplace)
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1)
    assert visible(workplace) == before


def test_bytes_that_are_no_text_are_one_line(workplace):
    done = run("bash", "-c", f"{sys.executable} -m bpttlab sweep study=$'\\xff'", cwd=workplace)
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert "cannot read 'study=\\udcff'" in done.stderr


def test_truncation_beyond_the_sequence_is_a_note_no_error(folder, capsys):
    assert main(["sweep", "study=x", "truncation=50", *SMALL, "--dry-run"]) == 0
    assert "is the full gradient: 1 run (50 of 8 steps)" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("tables study=frist", "Did you mean 'first'?"),
        ("figures study=first format=gif", "png or svg or pdf"),
        ("figures study=first format=PNG", "png or svg or pdf"),
        ("status study=first results=result", "nothing is stored yet: there is no folder result;"),
    ],
)
def test_mistakes_about_a_study_that_there_is(studied, monkeypatch, capsys, line, said):
    monkeypatch.chdir(studied)
    before = visible(studied)
    assert main(line.split()) == 2
    output = capsys.readouterr()
    assert said in output.err
    assert output.err.count("\n") == 1
    assert visible(studied) == before
