"""`bpttlab verify`: this installation against known results, definitions and published claims."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from bpttlab.cli.arguments import RESULTS, add_command, key_values, say
from bpttlab.errors import ConfigurationError, nearest
from bpttlab.files import check_is_folder

if TYPE_CHECKING:
    from tqdm import tqdm

    from bpttlab.verification import Check

_DESCRIPTION = """\
Checks this installation without training a network. Each check compares a number that is measured here with a number
from the literature, a formula or a definition. All checks together take several minutes; with --quick (smaller and
fewer networks, wider tolerances, no experiments) they take about 45 seconds of processor time."""

TEXT = """\
examples:

  bpttlab verify --quick
  bpttlab verify gradients
  bpttlab verify spectra products

topics (all, where none is named):

  gradients    every cell, stack, engine, dtype, loss, scheme and estimator, constraints and gradients at inputs,
               against the complex step of the forward pass; derivatives of Jacobians, penalties, lag terms, many
               steps, the one-unit cliff.
               The same with and without --quick, in about 20 seconds of processor time
  products     norms of Jacobian products against explicit products, matrices with known answers, large Gaussian ones
  spectra      Lyapunov exponents and singular values against explicit products; maps, random products, networks
  theory       the formulas: mean field, networks at rest, few units
  truncation   influence balancing, random cuts
  statistics   the interval of a median
  experiments  every shipped experiment, swept completely and checked against its claims; --quick leaves it out

The first use of the engine numba compiles its loops: on each machine gradients takes a few minutes more, once, because
it uses every loop in both dtypes. Without Numba the compiled engine is not checked.

A check that is estimated from draws has a 95 % interval (of a median over networks, by order statistics). It holds if
the whole interval is within the tolerance, fails if none of it is, and is undecided otherwise or if the number is
missing. For the claims of experiments a line says how many fail by chance if all are true. Checks that do not hold are
shown one by one; --verbose shows all. All are written to results/verify as .csv, .md and .html. After an interruption,
or an end by --fail-fast, the finished checks are written to files of their own, checks-interrupted.
Exit code: 0: success; 1: a check does not hold (undecided counts as such); 2: the command could not finish; the
message says why; 130: Ctrl-C.
"""

TOPIC_NAMES = ("gradients", "products", "spectra", "theory", "truncation", "statistics", "experiments")
"""The names in `verification.TOPICS`, which completion does not import."""


def register(commands: Any) -> None:
    """Adds `bpttlab verify`."""
    parser = add_command(
        commands,
        "verify",
        _command,
        (RESULTS._replace(meaning="the folder in which verify/ is written (results)"),),
        summary="check this installation against known results and published claims",
        usage="[TOPIC ...] [results=FOLDER] [--quick] [--fail-fast] [--verbose]",
        description=_DESCRIPTION,
        text=TEXT,
    )
    parser.add_argument("--quick", action="store_true", help="smaller networks, wider tolerances, no experiments")
    parser.add_argument("--fail-fast", action="store_true", help="stop at the first check that fails")
    parser.add_argument("--verbose", "-v", action="store_true", help="show every check, not only those that fail")
    parser.set_defaults(topics=TOPIC_NAMES)


def _command(parsed: argparse.Namespace) -> int:
    """Performs the checks of the topics, prints and writes them."""
    topics = [word for word in parsed.words if "=" not in word]
    chosen = key_values([word for word in parsed.words if "=" in word], parsed.keys, "verify")
    for topic in topics:
        if topic not in TOPIC_NAMES:
            raise ConfigurationError(
                f"verify {topic}: must be one of {', '.join(TOPIC_NAMES)}.{nearest(topic, TOPIC_NAMES)}"
            )
    if topics == ["experiments"] and parsed.quick:
        raise ConfigurationError("verify --quick experiments: experiments are swept completely; leave out --quick")
    ordered = [topic for topic in TOPIC_NAMES if topic in topics or not topics]
    return verify(ordered, parsed.quick, chosen["results"], parsed.fail_fast, parsed.verbose)


def verify(topics: list[str], quick: bool, results: str, fail_fast: bool = False, verbose: bool = False) -> int:
    """Prints each topic, with `verbose` all its checks, and writes a file of each kind, also after an interruption."""
    found: list[tuple[str, Check]] = []
    verify_folder(results)  # before the work
    try:
        whole = perform(topics, quick, fail_fast, found, verbose)
    except KeyboardInterrupt:
        print("interrupted: ", end="")
        _publish(found, topics, quick, results, whole=False)
        raise
    return _publish(found, topics, quick, results, whole)


def perform(
    topics: list[str], quick: bool, fail_fast: bool, found: list[tuple[str, Check]], verbose: bool = False
) -> bool:
    """Performs all checks, adds them to `found` and prints each topic; whether none was left out by `fail_fast`."""
    from tqdm import tqdm

    from bpttlab import verification
    from bpttlab.numerics.verdicts import FAILS
    from bpttlab.verification import report

    with tqdm(total=sum(len(verification.TOPICS[topic]) for topic in topics), unit="step", disable=None) as bar:
        for topic in topics:
            first, failed = len(found), False
            for check in verification.run_checks(topic, quick, lambda name: _announce(bar, name)):
                found.append((topic, check))
                failed = check.verdict == FAILS
                if failed and fail_fast:
                    break
            bar.write(report.topic_text(topic, verification.table(found[first:]), verbose))
            if failed and fail_fast:
                return False
    return True


def verify_folder(results: str) -> Path:
    """The folder of the files of this command.

    Raises:
        StoreError: it is a link or a file.
    """
    check_is_folder(Path(results, "verify"))
    return Path(results, "verify")


def _publish(found: list[tuple[str, Check]], topics: list[str], quick: bool, results: str, whole: bool) -> int:
    """Writes the checks and says where; the exit code."""
    from bpttlab import verification
    from bpttlab.verification import report

    frame = verification.table(found)
    paths = report.write_report(frame, verify_folder(results), topics, quick, whole)
    about = report.describe_chance_failures(frame)
    say(f"{about}\n" if about else "", end="")
    say(f"{report.summary(frame)}; written to {', '.join(map(str, paths))}")
    return int(not frame["held"].all())


def _announce(bar: tqdm[NoReturn], name: str) -> None:
    """Shows the name of the next check, and counts it."""
    bar.set_description(name, refresh=False)
    bar.update()
