"""`bpttlab tables`: summaries of a stored study, as files and on a terminal."""

from __future__ import annotations

import argparse
import shutil
import textwrap
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from bpttlab import plugins
from bpttlab.cli.arguments import (
    EXPERIMENT,
    NETWORKS_KEY,
    PLUGINS_KEY,
    RESULTS,
    STUDY,
    Key,
    add_command,
    key_values,
    load_study,
    say,
    split_plugins,
)
from bpttlab.errors import ConfigurationError, LabError, nearest

if TYPE_CHECKING:
    import pandas as pd

    from bpttlab.claims.analyses import Analysis
    from bpttlab.store.store import Study

_DESCRIPTION = """\
Summarises a study over its networks: growth over the sequence and its regime, asymptotic rates, horizons, the critical
spectral radius, the cost of truncation, and the largest Lyapunov exponent where it was measured (measure=spectra).
Writes every summary to results/NAME/tables as .csv (every digit), .md and .tex, and prints what fits a screen."""

_TEXT = """\
examples:

  bpttlab tables study=first                    the headline, and other summaries as far as they fit
  bpttlab tables study=first table=growth       one summary with all its columns
  bpttlab tables study=first all=true           all summaries, all rows
  bpttlab tables study=mine networks=path       files of your own (cell=from_file) as the networks of one point

Intervals are 95 %, of the median over networks by order statistics, and need six networks. docs/tables.md describes
every column. A study of an experiment has the tables of that experiment as well; plugins= adds your own.
Exit code: 0: success; 2: the command could not finish, or a table of your own failed; the message says why.
"""

TABLE = Key("table", "print only this summary (default: those that fit)")
ALL = Key("all", "true: print everything (default: false)", "false", ("true", "false"))

SENTENCES = 4
"""The most sentences below one of several tables."""

SCREEN = 40
"""Lines that are printed where nothing else is asked for."""


def register(commands: Any) -> None:
    """Adds `bpttlab tables`."""
    add_command(
        commands,
        "tables",
        _command,
        (STUDY, TABLE, ALL, NETWORKS_KEY, EXPERIMENT, PLUGINS_KEY, RESULTS),
        summary="write the summaries of a study as CSV, Markdown and LaTeX, and print them",
        usage="study=NAME [table=NAME] [all=true] [networks=path] [experiment=NAME] [plugins=FILE.py]\n"
        "                      [results=FOLDER]",
        description=_DESCRIPTION,
        text=_TEXT,
    )


def _command(parsed: argparse.Namespace) -> int:
    """Writes all summaries and prints some."""
    chosen = key_values(parsed.words, parsed.keys, "tables")
    with plugins.use(chosen["plugins"] or None):
        return write_and_print(chosen)


def write_and_print(chosen: dict[str, str]) -> int:
    """`_command`, with the user's own tables known."""
    from bpttlab import tables
    from bpttlab.claims import analyses

    analysis, study = load_with_analysis(chosen)
    made = tables.summaries(study)
    summaries = made | (analyses.find_summaries(analysis, study) if analysis else {})
    wanted, whole = chosen["table"], chosen["all"] == "true"
    if wanted in made.failed:
        raise LabError(f"not made: {wanted}: {made.failed[wanted]}")
    if wanted and wanted not in summaries:
        unread = find_unread_plugins(chosen, study)
        remedy = f" For tables of your own give plugins={unread}." if unread else ""
        raise ConfigurationError(
            f"table={wanted}: must be one of {', '.join(summaries)}.{nearest(wanted, list(summaries))}{remedy}"
        )
    for name, frame in summaries.items():
        said = [*tables.find_caption(name, frame), *tables.find_sentences(name, frame)]
        tables.write(frame, study.path / "tables" / name, said)
    width = shutil.get_terminal_size((120, 24)).columns
    shown = {wanted: summaries[wanted]} if wanted else summaries
    text = "\n".join(show(name, frame, width, None if whole else SCREEN) for name, frame in shown.items())
    say(text if wanted or whole else screenful(summaries, width), end="")
    say(f"tables: {study.path / 'tables'} ({len(summaries)} as .csv, .md and .tex)")
    name_unread_plugins(chosen, study)
    for name, why in made.failed.items():
        say(f"not made: {name}: {why}", error=True)
    return 2 if made.failed else 0


def show(name: str, frame: pd.DataFrame, width: int, rows: int | None = None, whole: bool = True) -> str:
    """One summary under its name, and the sentences that say the same; if not whole, only as many as take the room of
    a table.
    """
    from bpttlab import tables

    if name == "headline" and rows is not None:
        return f"{name}\n{tables.format_headline(frame, width)}"
    chosen = frame if rows is None else tables.choose_rows(name, frame)
    rest = "" if len(chosen) == len(frame) else f"  ({len(chosen)} of {len(frame)} rows; all: all=true or the files)"
    said = tables.find_sentences(name, frame)[:rows]
    if not whole and len(said) > SENTENCES:
        said = [f"in words: table={name}"]
    text = tables.format_table(chosen, width, rows, whole, tables.find_caption(name, chosen))
    return "\n".join([f"{name}{rest}", text + "".join(f"{line}\n" for line in tables.fill(said, width))])


def screenful(summaries: dict[str, pd.DataFrame], width: int) -> str:
    """The first summary, the user's own, as many others as fit a screen, and the names of the rest."""
    own = {choice.name for choice in plugins.own_choices() if choice.kind == "table"}
    parts: list[str] = []
    left: list[str] = []
    for name, frame in sorted(summaries.items(), key=lambda pair: (pair[0] != "headline", pair[0] not in own)):
        part = show(name, frame, width, rows=12, whole=False)
        if parts and (name == "growth" or len("\n".join([*parts, part]).splitlines()) > SCREEN - 4):
            left.append(f"{name} ({len(frame)} {'row' if len(frame) == 1 else 'rows'})")
        else:
            parts.append(part)
    more = f"not shown: {', '.join(left)}; one of them: table=NAME" if left else ""
    return "\n".join([*parts, *textwrap.wrap(more, width), ""])


def name_unread_plugins(chosen: dict[str, str], study: Study) -> None:
    """Prints a line if the study was swept with files of the user's own and this command received none."""
    if named := find_unread_plugins(chosen, study):
        say(f"plugins={named} is not read: give it here too for tables, figures and claims of its own")


def find_unread_plugins(chosen: dict[str, str], study: Study) -> str | None:
    """The user's own files that the study was swept with, if this command received none: those of its last command,
    otherwise those of its runs."""
    from bpttlab.claims import analyses

    if chosen["plugins"]:
        return None
    named, _ = split_plugins(analyses.words(study))
    if named is None and "plugins" in study.runs:
        files = study.provenance["plugin_files"].dropna().unique()
        named = ",".join(sorted({name for several in files for name in several.split(", ")}))
    return named or None


def load_with_analysis(chosen: dict[str, str]) -> tuple[Analysis | None, Study]:
    """The study, and the analysis of the experiment that was named, else of the one that it was swept with."""
    from bpttlab.claims import analyses

    if not chosen["experiment"]:
        study = load_study(chosen)
        name = analyses.of(study)
        return (analyses.find_analysis(name) if name else None), study
    try:
        analysis = analyses.find_analysis(chosen["experiment"])
    except ConfigurationError:
        refuse_without_plugins(chosen)
        raise
    return analysis, load_study(chosen)


def refuse_without_plugins(chosen: dict[str, str]) -> None:
    """Refuses an unknown experiment of a study that was swept with the user's own files, which may contain it."""
    unread = None
    with suppress(LabError):  # a study that cannot be read is not what is wrong first
        unread = find_unread_plugins(chosen, load_study(chosen))
    if unread:
        raise ConfigurationError(
            f"experiment={chosen['experiment']} is not known; the study was swept with plugins={unread}: give it here "
            "too"
        )
