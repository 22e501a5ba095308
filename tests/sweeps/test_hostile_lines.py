"""A line of any characters is read, or refused by a LabError of one line, in less than two seconds."""

import random
import sys
import time
from contextlib import suppress

import pytest

from bpttlab.cli import LONGEST_MESSAGE, main
from bpttlab.cli.sweep import override_lines
from bpttlab.errors import LabError
from bpttlab.sweeps import hydra_composition, hydra_settings
from bpttlab.sweeps.line_advice import advise
from tests.support.commandline import run

SECONDS = 2.0
VALID = [
    "seed=0,1,2",
    "seed=range(0,8)",
    "spectral_radius=0.5,1.0,1.5",
    "'seed=range(0,8,2)'",
    "task=noise,adding",
    "cell.hidden_size=32",
    "+measure.lags=[1,2,3]",
    "~cell.hidden_size",
    "task={name:noise}",
    "truncation=choice(full,5)",
    "seed=sort(shuffle(range(0,9)),reverse=true)",
    "hydra.mode=RUN",
    "hydra.job.name=${now:%Y}",
    "hydra/launcher=bpttlab",
    "cell.path='a b.npz'",
    "experiment=glob(*)",
    "study=first",
]
LETTERS = "[]{}(),=:.'\"\\$~+-/%@!*#&| \t\n\r\x00\x1b\x7f0123456789eE_abcRUNéßοѕ＝“\u200b\u202e\ud800🙂"


def mutated(rng):
    """One to six characters of a valid line changed, added or taken away; sometimes very many, or nested deep."""
    line = rng.choice(VALID)
    for _ in range(rng.randrange(1, 7)):
        place, letter = rng.randrange(len(line) + 1), rng.choice(LETTERS)
        line = line[:place] + rng.choice([letter, letter, "", 2 * letter]) + line[place + rng.randrange(2) :]
    if rng.random() < 0.05:
        line += rng.choice(["[", "(", "{a:", "0,", "x", "'", "\\", "${a:", "range("]) * rng.choice([9, 99, 999])
    return line


@pytest.fixture(scope="module")
def composer():
    return hydra_composition.composer()


def use_line(composer, line):
    """As far as a sweep goes with it, without the composition of files."""
    override_lines([line])
    if hydra_settings.is_of_hydra(line):
        hydra_settings.check_own_lines([line], None)
    else:
        composer.axis(line)


def read_line(composer, line):
    """What is wrong with how a line is taken; "" if it is read, or refused in one line in time."""
    begun = time.process_time()
    try:
        use_line(composer, line)
    except LabError:
        pass
    except Exception as error:
        return f"{type(error).__name__}: {error}"
    advise(line)
    seconds = time.process_time() - begun
    return f"{seconds:.1f} s" if seconds > SECONDS else ""


def read_mutations(composer, seeds):
    lines = {seed: mutated(random.Random(seed)) for seed in seeds}
    assert not {(seed, line): wrong for seed, line in lines.items() if (wrong := read_line(composer, line))}


def test_mutated_lines_are_read_or_refused(composer):
    read_mutations(composer, range(300))


@pytest.mark.slow
@pytest.mark.parametrize("seeds", [range(start, start + 1000) for start in range(10_000, 20_000, 1000)], ids=str)
def test_many_mutated_lines(composer, seeds):
    read_mutations(composer, seeds)


@pytest.mark.slow
@pytest.mark.parametrize("seeds", [range(start, start + 100) for start in range(20_000, 20_600, 100)], ids=str)
def test_mutated_lines_are_composed_or_refused(seeds):
    for seed in seeds:
        with suppress(LabError):
            list(hydra_composition.compose_line(override_lines([mutated(random.Random(seed))])))


@pytest.mark.parametrize(
    "line",
    [
        "hydra.~mod%e=RU]N",
        "hydra/launcher=[",
        "seed=" + "[" * 900,
        "seed=" + "range(" * 200,
        "seed=" + "${a:" * 300,
        "seed=" + "0," * 8000 + "0",
        "x" * 100_000 + "=1",
        "seed=" + "9" * 5000,
        "seed=1e999",
        "seed=range(0," + "9" * 400 + ")",
        "spectral_radius=" + "0." + "1" * 5000,
    ],
    ids=lambda line: line[:20],
)
def test_lines_that_are_long_or_deep(composer, line):
    assert read_line(composer, line) == ""


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("seed=" + "0," * 2001, "commas: 2001, and at most 2000 are allowed"),
        ("cell.path=" + "x" * 20_000, "characters: 20010, and at most 20000"),
        ("seed=" + "[" * 21, "brackets within brackets: 21, and at most 20"),
        ("seed=" + "9" * 5000, "a number may have at most 400 digits"),
        ("study=${now:%Y}", "has another interpolation than ${KEY}, ${oc.env:NAME}"),
        ("study=${${seed}:x}", "has another interpolation"),
        ("study=${oc.decode:'$'}", "has another interpolation"),
        ("seed=99999999999999999999", "must be an integer >= 0, of 64 bits"),
        ("cell=stacked cell.layers=100000000", "cell.layers=100000000: must be an integer >= 1 and <= 1000"),
        ("hydra.x=[", "a bracket is not closed"),
        ("hydra.launcher._target_=os.system", "hydra.launcher._target_=os.system: cannot be set"),
        ("hydra.job.env_copy=[NO_SUCH]", "cannot be set: of Hydra's own settings a line may give hydra.searchpath"),
        ("seed=range(0,3000000)", "asks for 3000000 runs; a sweep may have at most 1000000\n"),
        ("spectral_radius=range(0,1,1e-7)", "asks for 10000000 runs; a sweep may have at most 1000000\n"),
        ("seed=range(0,100000) spectral_radius=range(0,1,1e-5)", "asks for 10000000000 runs"),
    ],
    ids=lambda value: value[:30],
)
def test_what_is_beyond_a_limit_is_refused_by_name(folder, capsys, line, told):
    assert main(["sweep", "study=x", *line.split(), "--dry-run"]) == 2
    assert told in capsys.readouterr().err


def test_lines_are_limited_together(composer):
    for lines, told in (
        ([f"a{n}=1" for n in range(501)], "override lines: 501, and at most 500"),
        ([f"a{n}={'x' * 15_000}" for n in range(3)], "characters: 45009, and at most 40000"),
        ([f"a{n}=${{seed}}" for n in range(13)], "interpolations ${...}: 13, and at most 12"),
    ):
        with pytest.raises(LabError) as caught:
            composer.axes(lines)
        assert told in str(caught.value)


def test_functions_under_python_without_assertions_are_refused(folder):
    done = run(sys.executable, "-O", "-m", "bpttlab", "sweep", "study=x", "seed=range(0,3)", "--dry-run", cwd=folder)
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert "seed=range(0,3): range() and other functions cannot be read by python -O" in done.stderr


def test_a_long_message_is_cut(folder, capsys):
    assert main(["sweep", "study=x", f"seed={'x' * 5000}/"]) == 2
    assert len(capsys.readouterr().err) < LONGEST_MESSAGE + 20
