"""Hostile override lines, words and configuration files: each is read, or refused in one line in less than two seconds.

    python -m faults override_lines --count COUNT --seed SEED

Lines are drawn from grammars and damaged (`line_grammar`). Every line is read as `bpttlab sweep` reads it; every
WHOLE-th is a whole command line, half of these with a configuration file, or with a command that reads a stored study.
Nothing may be executed or written elsewhere (`canary`), nothing may reach the terminal unescaped, no exception other
than the program's own may be raised, and a refusal may take at most two seconds and 1 GB.
"""

from __future__ import annotations

import io
import os
import pickle
import random
import resource
import shutil
import time
import warnings
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import chdir, contextmanager, redirect_stderr, redirect_stdout, suppress
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

from bpttlab.cli import main
from bpttlab.cli.sweep import override_lines
from bpttlab.errors import LabError
from bpttlab.sweeps import hydra_composition, hydra_settings
from bpttlab.sweeps.line_advice import advise
from faults import line_grammar
from faults.canary import Canary
from faults.hanging import limit_seconds
from faults.needs import Progress, scratch_folder
from faults.outcome import Outcome
from faults.parts import Tried, try_in_parts

SECONDS = 2.0
"""Of processor time, for a refusal."""

HANGS = 60
"""Seconds after which a command is ended."""

KILOBYTES = 1 << 20
"""Of memory by which the process may grow through one command."""

WHOLE = 100
"""One of so many lines is a whole command line."""

STUDY = ["study=first", "workers=0", "sequence_length=6", "cell.hidden_size=3", "batch_size=2", "seed=0,1"]
FIRST = [["seed=range(0,3)"], ["task=noise,adding"], ["cell=gru", "hydra.verbose=true"], ["seed=x"], ["task.delay=3"]]

NOTICE = "bpttlab: left out: "
"""Of a line about damaged files, which may stand before a refusal."""

CANARY = Canary()


class Bomb:
    """An object whose pickle writes a file when it is read."""

    def __reduce__(self) -> tuple[Callable[[str], int], tuple[str]]:
        return os.system, ("touch executed",)


def run(count: int, seed: int = 0, whole: int = WHOLE, jobs: int = 2, progress: Progress | None = None) -> Outcome:
    """Tries so many lines.

    Args:
        count: lines, whole command lines included.
        seed: line n is drawn from the seed "seed:n", so that one line can be tried again.
        whole: one of so many is a whole command line; 0: none.
        jobs: processes that try them.
    """
    with sandbox() as first:
        warm_up_reading(hydra_composition.composer())
        if whole:
            warm_up_commands()
        tried, losses = try_in_parts(partial(try_part, first, seed, whole), count, jobs, progress)
    return Outcome(tried, losses, f"python -m faults override_lines --count {count} --seed {seed}")


def try_part(first: Path, seed: int, whole: int, places: range) -> Tried:
    """Tries the lines of these numbers."""
    tried, losses = Counter[str](), list[str]()
    composer = hydra_composition.composer()
    with copy_of(first) as folder:
        for place in places:
            kind, fault = try_one(f"{seed}:{place}", composer, folder, whole > 0 and place % whole == 0)
            tried[kind] += 1
            losses += [f"{seed}:{place} {kind}: {fault}"] if fault else []
    return tried, losses


def try_one(seed: str, composer: hydra_composition.Composer, folder: Path, is_whole: bool) -> tuple[str, str]:
    """The kind of one case, and what was wrong with it; "" if nothing was."""
    rng = random.Random(seed)
    if not is_whole:
        line = line_grammar.line(rng)
        return "line", try_line(composer, line)
    kind = rng.choice(["sweep", "file", "reading"])
    words = draw_words(kind, rng, folder)
    fault = try_command(words, folder)
    return kind, f"{words!r}: {fault}"[:2000] if fault else ""


def draw_words(kind: str, rng: random.Random, folder: Path) -> list[str]:
    """A whole command line; its configuration file is written."""
    if kind == "reading":
        return line_grammar.words_of_reading(rng)
    if kind == "sweep":
        return line_grammar.words_of_sweep(rng)
    text = line_grammar.configuration_file(rng)
    (folder / "conf" / "experiment" / "drawn.yaml").write_bytes(text.encode("utf-8", "surrogatepass"))
    lines = [line_grammar.line(rng)] if rng.random() < 0.2 else []
    return ["sweep", "study=fuzz", "max_runs=200", "experiment=drawn", "--config-dir", "conf", *lines, "--dry-run"]


# ------------------------------------------------------------------ one line


def try_line(composer: hydra_composition.Composer, line: str) -> str:
    """What is wrong with how a line is taken; "" if it is read, or refused in one line in time."""
    begun, fault = time.process_time(), ""
    with CANARY.watch() as seen:
        try:
            use_line(composer, line)
        except LabError as error:
            fault = "" if str(error).strip() else "an empty message"
        except Exception as error:
            fault = f"{type(error).__name__}: {error}"
        advise(line)
    seconds = time.process_time() - begun
    fault = fault or "; ".join(seen) or (f"{seconds:.1f} s" if seconds > SECONDS else "")
    return f"{line[:300]!r}: {fault}" if fault else ""


def use_line(composer: hydra_composition.Composer, line: str) -> None:
    """As far as a sweep goes with it, without the composition of files."""
    override_lines([line])
    if hydra_settings.is_of_hydra(line):
        hydra_settings.check_own_lines([line], None)
    else:
        composer.axes([line])


# ------------------------------------------------------------------ a whole command line


def try_command(words: Sequence[str], folder: Path) -> str:
    """What is wrong with how a command line is carried out; "" if nothing is."""
    out, begun, before = io.StringIO(), time.process_time(), memory()
    code: int | None = None
    results = [folder / "results"] if words[0] not in ("sweep", "status") else []
    with CANARY.watch(*results) as seen, limit_seconds(HANGS):
        try:
            with redirect_stdout(out), redirect_stderr(out), warnings.catch_warnings():
                warnings.simplefilter("always")
                code = main(list(words))
        except BaseException as error:  # SystemExit too: a command returns its code
            seen.append(f"{type(error).__name__}: {error}")
    seconds, grown = time.process_time() - begun, memory() - before
    faults = [*seen, *faults_of_output(code, out.getvalue())]
    faults += [f"{seconds:.1f} s"] if code == 2 and seconds > SECONDS else []
    faults += [f"{grown} kB"] if grown > KILOBYTES else []
    return "; ".join([*faults, *(["executed"] if (folder / "executed").exists() else [])])


def faults_of_output(code: int | None, text: str) -> list[str]:
    """What a command may not print: letters that a terminal obeys, tracebacks, more than one line of refusal."""
    faults = [f"exit code {code}"] if code not in (0, 1, 2) else []
    obeyed = {letter for letter in text if not letter.isprintable() and letter != "\n"}
    faults += [f"prints {sorted(obeyed)!r}"] if obeyed else []
    faults += ["a traceback"] if "Traceback (most recent" in text else []
    told = [line for line in text.splitlines() if line.startswith("bpttlab: ")]
    refusals = [line for line in told if not line.startswith(NOTICE)]
    return faults + ([f"{len(refusals)} refusals"] if code == 2 and len(refusals) != 1 else [])


def memory() -> int:
    """The most memory that this process has had, in kB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


# ------------------------------------------------------------------ where it happens


@contextmanager
def sandbox() -> Iterator[Path]:
    """A temporary current folder with a folder of configuration and a hostile pickle."""
    with TemporaryDirectory(dir=scratch_folder(), ignore_cleanup_errors=True) as name:
        folder = Path(name).resolve() / "first"
        (folder / "conf" / "experiment").mkdir(parents=True)
        (folder / "bomb.pkl").write_bytes(pickle.dumps(Bomb()))
        with chdir(folder):
            yield folder


@contextmanager
def copy_of(first: Path) -> Iterator[Path]:
    """A copy of that folder beside it, as the current folder: each process that tries inputs has its own."""
    with TemporaryDirectory(dir=first.parent) as name:
        folder = Path(shutil.copytree(first, name, dirs_exist_ok=True))
        with chdir(folder):
            yield folder


def warm_up_reading(composer: hydra_composition.Composer) -> None:
    """Imports what the reading of lines imports, outside of what is watched."""
    for line in line_grammar.VALID:
        with suppress(LabError):
            use_line(composer, line)
        advise(f"{line},größe")


def warm_up_commands() -> None:
    """Imports what the commands import, and stores the study that they read."""
    with redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()):
        main(["sweep", *STUDY])
        for command in ("status", "tables", "figures", "claims", "export"):
            main([command, "study=first"])
        for lines in FIRST:
            main(["sweep", "study=fuzz", *lines, "--dry-run"])
        main(["sweep", "seed=1", "--cfg", "all", "--resolve"])
        main(["sweep", "--help"])
