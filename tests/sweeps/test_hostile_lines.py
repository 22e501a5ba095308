"""A line of any characters is read, or refused by a LabError of one line, in less than two seconds."""

import random
import time
from contextlib import suppress

import pytest

from bpttlab.cli import LONGEST_MESSAGE, main
from bpttlab.cli.sweep import override_lines
from bpttlab.errors import LabError
from bpttlab.sweeps import hydra_composition
from bpttlab.sweeps.line_advice import advise

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
    if hydra_composition.is_of_hydra(line):
        hydra_composition.refuse_unreadable([line])
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


def test_a_long_message_is_cut(folder, capsys):
    assert main(["sweep", "study=x", f"seed={'x' * 5000}/"]) == 2
    assert len(capsys.readouterr().err) < LONGEST_MESSAGE + 20
