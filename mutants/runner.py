"""Plants a mutant in a copy of the package and runs its detectors on the copy: `bpttlab verify`, or the claims of an
experiment on a small study of it.

Compiled loops are interpreted (NUMBA_DISABLE_JIT=1): they are written so that this gives the same numbers up to
rounding. At the sizes of the checks it takes as long as compiled code does, and nothing has to be compiled.
"""

from __future__ import annotations

import csv
import io
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from mutants.catalogue import Mutant

COPIED = ("bpttlab", "conf", "docs", "experiments", "hydra_plugins", "tests")
COPIED_FILES = ("pyproject.toml",)
ROOT = Path(__file__).resolve().parents[1]
CLAIMS_SCRIPT = Path(__file__).resolve().with_name("claims.py")
TESTS_SCRIPT = Path(__file__).resolve().with_name("unit_tests.py")

KILLED, SURVIVED, TIMED_OUT, CRASHED = "killed", "survived", "timed out", "crashed"
FAILED_EXIT = 1


@dataclass(frozen=True)
class Detector:
    """A command that should report a failed check.

    Attributes:
        name: as it is shown.
        words: the arguments of Python; the folder of the results is added as results=FOLDER.
        tables: the CSV files with the columns `what` and `verdict` that it writes, a pattern below that folder.
        compiles: whether Numba compiles; else its loops are interpreted.
    """

    name: str
    words: tuple[str, ...]
    tables: str = "verify/*.csv"
    compiles: bool = False


VERIFY = ("-m", "bpttlab", "verify", "--fail-fast")
GRADIENTS = Detector("verify gradients", (*VERIFY, "gradients"))


def quick_detector() -> Detector:
    """`verify --quick` without the topic gradients, which is the same with and without --quick and has run before."""
    from bpttlab.cli.verify import TOPIC_NAMES

    topics = [topic for topic in TOPIC_NAMES if topic not in ("gradients", "experiments")]
    return Detector("verify --quick", (*VERIFY, "--quick", *topics))


def claims_detector(mutant: Mutant) -> Detector:
    """The claims of the mutant's experiment on a study of its sweeps."""
    words = ("-P", str(CLAIMS_SCRIPT), mutant.subject, *mutant.sweeps)  # -P: nothing beside the script is imported
    return Detector(f"claims of {mutant.subject}", words, "claims/*.csv")


TESTED = ("networks", "gradients", "truncation", "measures", "numerics", "tasks")
"""Folders of the tests that check derivatives; of these, what a fault of the engine must fail in."""
NOT_OF_MUTANTS = (
    "gradients/compiled/test_preload.py",
    "gradients/test_torch.py",
    "gradients/test_torch_cells.py",
    "networks/test_torch_pretrained.py",
)


def tests_detector() -> Detector:
    """The unit tests of the rooms that compute derivatives, but those of PyTorch and of the cache on disk."""
    ignored = tuple(f"--ignore=tests/{path}" for path in NOT_OF_MUTANTS)
    words = ("-P", str(TESTS_SCRIPT), *(f"tests/{room}" for room in TESTED), *ignored)
    return Detector("unit tests", words, "tests/*.csv", compiles=True)


@dataclass(frozen=True)
class Run:
    """What one detector did: exit code (None: it ran out of time), the checks that failed, the end of its output."""

    code: int | None
    failed: tuple[str, ...]
    output: str

    @property
    def status(self) -> str:
        if self.code is None:
            return TIMED_OUT
        if self.code == 0:
            return SURVIVED
        return KILLED if self.code == FAILED_EXIT and self.failed else CRASHED


@dataclass(frozen=True)
class Outcome:
    """What became of a mutant.

    Attributes:
        status: killed, survived, timed out or crashed; only the first one counts as found.
        detector: the one that ended it.
        failed: the names of the checks that failed.
    """

    mutant: Mutant
    status: str
    detector: str
    failed: tuple[str, ...]
    seconds: float
    output: str = ""


class Workspace:
    """A copy of the package."""

    def __init__(self, folder: Path, source: Path = ROOT) -> None:
        self.source, self.folder = source, folder
        self.copy = folder / "copy"
        self.processes: set[subprocess.Popen[str]] = set()
        self.stopped = False

    def prepare(self) -> None:
        """Copies the source; raises a RuntimeError if Python would import another one."""
        for name in COPIED:
            shutil.copytree(self.source / name, self.copy / name, ignore=shutil.ignore_patterns("__pycache__"))
        for name in COPIED_FILES:
            shutil.copy2(self.source / name, self.copy / name)
        words = [sys.executable, "-c", "import bpttlab; print(bpttlab.__file__)"]
        place = subprocess.run(words, cwd=self.copy, env=self.environment(), capture_output=True, text=True, check=True)
        if not Path(place.stdout.strip()).is_relative_to(self.copy.resolve()):
            raise RuntimeError(f"python imports bpttlab from {place.stdout.strip()}, not from the copy in {self.copy}")

    def environment(self, compiles: bool = False) -> dict[str, str]:
        here = {"PYTHONPATH": str(self.copy), "OMP_NUM_THREADS": "1"}
        return {**os.environ, **here, **({} if compiles else {"NUMBA_DISABLE_JIT": "1"})}

    @contextmanager
    def planted(self, mutant: Mutant) -> Iterator[None]:
        """The copy with the mutant in it; afterwards as it was."""
        mutant.apply(self.copy)
        try:
            yield
        finally:
            shutil.copy2(self.source / mutant.file, self.copy / mutant.file)

    def run(self, detector: Detector, seconds: float) -> Run:
        """Runs a detector on the copy, as long as it may take."""
        results = self.folder / "results"
        shutil.rmtree(results, ignore_errors=True)
        words = [sys.executable, *detector.words, f"results={results}"]
        process = subprocess.Popen(
            words,
            cwd=self.copy,
            env=self.environment(detector.compiles),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self.processes.add(process)
        if self.stopped:
            process.kill()
        try:
            output, _ = process.communicate(timeout=seconds)
        except subprocess.TimeoutExpired:
            process.kill()
            output, _ = process.communicate()
            return Run(None, (), output[-2000:])
        finally:
            self.processes.discard(process)
        return Run(process.returncode, failed_checks(results, detector.tables), output[-2000:])

    def stop(self) -> None:
        """Ends what is running, and whatever would begin now."""
        self.stopped = True
        for process in list(self.processes):
            process.kill()


def failed_checks(results: Path, tables: str) -> tuple[str, ...]:
    """The names of the checks that failed, from the tables that a detector writes; none where it has written none."""
    texts = [path.read_text(encoding="utf-8") for path in sorted(results.glob(tables))]
    rows = [row for text in texts for row in csv.DictReader(io.StringIO(text))]
    return tuple(row["what"] for row in rows if row["verdict"] == "fails")


def examine(workspace: Workspace, mutant: Mutant, detectors: Sequence[Detector], seconds: float) -> Outcome:
    """Plants the mutant and runs the detectors until one does not pass."""
    begun = time.monotonic()
    with workspace.planted(mutant):
        for detector in detectors:
            run = workspace.run(detector, seconds)
            if run.status != SURVIVED:
                break
    return Outcome(mutant, run.status, detector.name, run.failed, time.monotonic() - begun, run.output)
