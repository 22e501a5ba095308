"""`bpttlab claims` and `bpttlab verify`: a study, or this installation, against what is known."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from bpttlab import plugins, resources
from bpttlab.cli.arguments import flags_and_words, key_values
from bpttlab.cli.results import TABLES, analysed
from bpttlab.errors import ConfigurationError, nearest

if TYPE_CHECKING:
    from tqdm import tqdm

    from bpttlab.verification import Check

CLAIMS_HELP = """\
bpttlab claims study=NAME [experiment=NAME] [plugins=FILE.py] [results=FOLDER]

Checks a study against what the literature says of its experiment, claim by claim. A number that differs from network to
network has an interval (95 %, of a median by the order of its values): a claim is undecided if the interval contains
both numbers that are as expected and numbers that are not, or if the number is missing. Exit code 1 if one does not
hold; undecided is not held. The experiment is the one that the study was swept with.

Identities are listed apart: they can fail only if the engine contradicts itself. The line about the family of claims
says how many fail by chance if all of them are true, and which verdicts are left at a family-wise level of 5 % (Holm).

  bpttlab sweep study=demo experiment=vanishing_exploding
  bpttlab claims study=demo
"""

VERIFY_HELP = """\
bpttlab verify [--quick] [--fail-fast] [TOPIC ...] [results=FOLDER]

Checks this installation against what is known without training a network. Each check is a number from the literature,
a formula or a definition beside the number that is measured here. All checks take minutes. With --quick (smaller
networks, fewer of them, wider tolerances, no experiments) they take less than a minute.

  bpttlab verify --quick
  bpttlab verify gradients
  bpttlab verify spectra products

The topics:

  gradients    every cell, stack, engine, dtype, loss, scheme and estimator, constraints and gradients at inputs,
               against the complex step of the forward pass alone; lag terms, many steps, the one-unit cliff.
               The same with and without --quick, in less than 20 seconds
  products     norms of Jacobian products against explicit products, matrices that are solved, large Gaussian ones
  spectra      Lyapunov exponents and singular values against explicit products; maps, random products, networks
  theory       the formulas: mean field, networks at rest, few units
  truncation   influence balancing, random cuts
  statistics   the interval of a median
  experiments  every experiment that comes with the package, swept whole and held against its claims; --quick has none

--fail-fast stops at the first check that fails.

The first use of the engine numba compiles its loops: then gradients takes two minutes more, once. Without Numba the
compiled engine is not checked.

A check that is estimated from draws has an interval (95 %, of a median over networks by their order). It holds where
all of the interval is within the tolerance, fails where none of it is, and is undecided between or if the number is
missing. Of the claims of experiments a line says how many fail by chance if all of them are true. The checks are
written to results/verify as .csv, .md and .html. Where they were interrupted, or ended by --fail-fast, those that were
done are written to files of their own, checks-interrupted. Exit code 1 if one does not hold; undecided is not held.
"""

CLAIMS = TABLES


def claims_command(arguments: list[str]) -> int:
    """Calls `claims` of the experiment's analysis.py, which comes with the package: nothing of the results is run."""
    chosen = key_values(arguments, CLAIMS)
    with plugins.using(chosen["plugins"] or None):
        return print_claims(chosen)


def print_claims(chosen: Mapping[str, str]) -> int:
    """`claims_command`, with the user's own experiments known."""
    from bpttlab.claims import analyses, multiplicity
    from bpttlab.claims.claims import CLAIM, IDENTITY
    from bpttlab.numerics.verdicts import UNDECIDED

    analysis, study = analysed(chosen)
    if analysis is None:
        raise ConfigurationError(f"experiment is missing: must be one of {', '.join(resources.analyses())}")
    claims = analyses.check_claims(analysis, study)
    own, identities = (claims[claims["kind"] == kind] for kind in (CLAIM, IDENTITY))
    print("\n".join(map(said, own.to_dict("records"))))
    if len(identities):
        print("\nidentities (they can fail only if the engine contradicts itself)")
        print("\n".join(map(said, identities.to_dict("records"))))
    print(f"\n{multiplicity.describe(multiplicity.family_of(claims))}")
    undecided = int((own["verdict"] == UNDECIDED).sum())
    rest = f", {undecided} undecided" if undecided else ""
    rest += f"; {identities['held'].sum()} of {len(identities)} identities hold" if len(identities) else ""
    print(f"{own['held'].sum()} of {len(own)} claims of {analysis.name} hold in {study.path}{rest}")
    return int(not claims["held"].all())


def said(row: Mapping[Any, Any]) -> str:
    """A claim in a line: its verdict, what was measured (and its interval, if there is one), what was expected, and why
    a number or its interval is missing."""
    word = str(row["verdict"]).replace("fails", "FAILS")
    known = row["low"] != row["high"] and not (row["low"] == -math.inf and row["high"] == math.inf)
    within = f" [{row['low']:.4g}, {row['high']:.4g}]" if known else ""
    why = f"; {row['reason']}" if row["reason"] else ""
    return f"{word:<9} {row['claim']}: {row['measured']:.4g}{within}, expected {row['expected']} ({row['source']}){why}"


VERIFY = {"results": "results"}
QUICK, FAIL_FAST = "--quick", "--fail-fast"
TOPICS = ("gradients", "products", "spectra", "theory", "truncation", "statistics", "experiments")
"""Of `verification.TOPICS`, which are not imported for a Tab key."""


def verify_command(arguments: list[str]) -> int:
    """Performs the checks of the topics, prints and writes them."""
    flags, words = flags_and_words(arguments, (QUICK, FAIL_FAST))
    topics = [word for word in words if "=" not in word]
    chosen = key_values([word for word in words if "=" in word], VERIFY)
    for topic in topics:
        if topic not in TOPICS:
            raise ConfigurationError(f"verify {topic}: there is only {', '.join(TOPICS)}.{nearest(topic, TOPICS)}")
    if topics == ["experiments"] and QUICK in flags:
        raise ConfigurationError("verify --quick experiments: experiments are swept whole; leave out --quick")
    ordered = [topic for topic in TOPICS if topic in topics or not topics]
    return verified(ordered, QUICK in flags, chosen["results"], FAIL_FAST in flags)


def verified(topics: list[str], quick: bool, results: str, fail_fast: bool = False) -> int:
    """The exit code, after a table of each topic and one file of each kind; also of what was done when it was
    interrupted, or when a check failed that ends it.
    """
    found: list[tuple[str, Check]] = []
    try:
        whole = perform(topics, quick, fail_fast, found)
    except KeyboardInterrupt:
        print("interrupted: ", end="")
        publish(found, topics, quick, results, whole=False)
        raise
    return publish(found, topics, quick, results, whole)


def perform(topics: list[str], quick: bool, fail_fast: bool, found: list[tuple[str, Check]]) -> bool:
    """Performs all checks, adds them to `found` and prints each topic; whether none was left out by `fail_fast`."""
    from tqdm import tqdm

    from bpttlab import verification
    from bpttlab.numerics.verdicts import FAILS
    from bpttlab.verification import report

    with tqdm(total=sum(len(verification.TOPICS[topic]) for topic in topics), unit="step", disable=None) as bar:
        for topic in topics:
            first, failed = len(found), False
            for check in verification.run_checks(topic, quick, lambda name: tell(bar, name)):
                found.append((topic, check))
                failed = check.verdict == FAILS
                if failed and fail_fast:
                    break
            bar.write(f"{topic}\n{report.text(verification.table(found[first:]))}\n")
            if failed and fail_fast:
                return False
    return True


def publish(found: list[tuple[str, Check]], topics: list[str], quick: bool, results: str, whole: bool) -> int:
    """Writes the checks and says where; the exit code."""
    from bpttlab import verification
    from bpttlab.verification import report

    frame = verification.table(found)
    paths = report.write(frame, Path(results, "verify"), topics, quick, whole)
    about = report.about_the_family(frame)
    print(f"{about}\n" if about else "", end="")
    print(f"{report.summary(frame)}; written to {', '.join(map(str, paths))}")
    return int(not frame["held"].all())


def tell(bar: tqdm[NoReturn], name: str) -> None:
    """What comes next, counted as it begins."""
    bar.set_description(name, refresh=False)
    bar.update()
