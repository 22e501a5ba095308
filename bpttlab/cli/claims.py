"""`bpttlab claims`: a study against what the literature says of its experiment."""

from __future__ import annotations

import argparse
import math
import shlex
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from bpttlab import plugins, resources
from bpttlab.cli.arguments import EXPERIMENT, PLUGINS_KEY, RESULTS, STUDY, add_command, key_values, say
from bpttlab.cli.tables import find_unread_plugins, load_with_analysis
from bpttlab.errors import ConfigurationError
from bpttlab.store.study_names import find_words

if TYPE_CHECKING:
    import pandas as pd

_DESCRIPTION = """\
Checks a study against the claims of its experiment, which are from the literature. A number that differs between
networks has a 95 % interval (of a median, by order statistics). A claim is undecided if its interval lies only partly
in the expected region, or if the number is missing."""

_TEXT = """\
examples:

  bpttlab sweep study=demo experiment=vanishing_exploding
  bpttlab claims study=demo
  bpttlab claims study=demo --brief

Identities are listed apart: they can fail only if the engine contradicts itself. The line below the
claims says how many fail by chance if all of them are true, and which verdicts remain if all claims are judged
together, at a level of 5 % (Holm).
Exit code: 0: success; 1: a claim or an identity does not hold (undecided counts as such); 2: the command could
not finish; the message says why.
"""


def register(commands: Any) -> None:
    """Adds `bpttlab claims`."""
    parser = add_command(
        commands,
        "claims",
        _command,
        (STUDY, EXPERIMENT, PLUGINS_KEY, RESULTS),
        summary="check a study against the published claims of its experiment",
        usage="study=NAME [experiment=NAME] [plugins=FILE.py] [results=FOLDER] [--brief]",
        description=_DESCRIPTION,
        text=_TEXT,
    )
    parser.add_argument("--brief", action="store_true", help="the verdicts in one line")


def _command(parsed: argparse.Namespace) -> int:
    """Calls `claims` of the experiment's analysis.py, which comes with the package: no stored file is executed."""
    chosen = key_values(parsed.words, parsed.keys, "claims")
    with plugins.use(chosen["plugins"] or None):
        return check(chosen, parsed.brief)


def check(chosen: dict[str, str], brief: bool) -> int:
    """`_command`, with the user's own experiments known."""
    from bpttlab.claims import analyses, multiplicity
    from bpttlab.claims.claims import CLAIM, IDENTITY

    analysis, study = load_with_analysis(chosen)
    unread = find_unread_plugins(chosen, study) if analysis is None else None
    if unread:
        raise ConfigurationError(f"experiment is missing: give plugins={unread}, as the sweep of the study had")
    if analysis is None:
        raise ConfigurationError(describe_no_experiment(chosen))
    claims = analyses.check_claims(analysis, study)
    if not brief:
        print_claims(*(claims[claims["kind"] == kind] for kind in (CLAIM, IDENTITY)))
        say(f"\n{multiplicity.describe_family(multiplicity.family_of(claims))}")
    say(_summary(claims, f"{analysis.name} hold in {study.path}"))
    return int(not claims["held"].all())


def describe_no_experiment(chosen: dict[str, str]) -> str:
    """The message for a study that belongs to no experiment: what makes one that does, and what to type otherwise."""
    known = list(resources.analyses())
    words = find_words(chosen["study"], chosen["results"])
    line = shlex.join(["bpttlab", "claims", *words, f"experiment={known[0] if len(known) == 1 else 'NAME'}"])
    return (
        f"study {chosen['study']!r} belongs to no experiment: no sweep of it was begun with experiment=NAME. To check "
        f"it against the claims of one all the same, type {line}, where NAME is one of {', '.join(known)}"
    )


def print_claims(own: pd.DataFrame, identities: pd.DataFrame) -> None:
    """One line a claim, then one line an identity."""
    say("\n".join(describe_all(own)))
    if len(identities):
        say("\nidentities (they can fail only if the engine contradicts itself)")
        say("\n".join(describe_all(identities)))


def _summary(claims: pd.DataFrame, of: str) -> str:
    """The verdicts in one line."""
    from bpttlab.claims.claims import CLAIM
    from bpttlab.numerics.verdicts import UNDECIDED

    is_claim = claims["kind"] == CLAIM
    own, identities = claims[is_claim], claims[~is_claim]
    undecided = int((own["verdict"] == UNDECIDED).sum())
    rest = f", {undecided} undecided" if undecided else ""
    rest += f"; {identities['held'].sum()} of {len(identities)} identities hold" if len(identities) else ""
    return f"{own['held'].sum()} of {len(own)} claims of {of}{rest}"


def describe_all(claims: pd.DataFrame) -> Iterable[str]:
    """One line a claim."""
    return map(describe_claims, claims.to_dict("records"))


def describe_claims(row: Mapping[Any, Any]) -> str:
    """A claim in a line: its verdict, what was measured (with its interval, if it has one), what was expected, and why
    a number or its interval is missing.
    """
    word = str(row["verdict"]).replace("fails", "FAILS")
    known = row["low"] != row["high"] and not (row["low"] == -math.inf and row["high"] == math.inf)
    within = f" [{row['low']:.4g}, {row['high']:.4g}]" if known else ""
    why = f"; {row['reason']}" if row["reason"] else ""
    return f"{word:<9} {row['claim']}: {row['measured']:.4g}{within}, expected {row['expected']} ({row['source']}){why}"
