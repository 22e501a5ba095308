"""`bpttlab tables`: summaries of a stored study, as files and on a terminal."""

from __future__ import annotations

import argparse
import os
import shutil
import sys
import textwrap
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bpttlab import plugins
from bpttlab.cli.arguments import (
    EXPERIMENT,
    NETWORKS_KEY,
    PLUGINS_KEY,
    RESULTS,
    STUDY,
    WATCH_SECONDS,
    Key,
    add_command,
    asks_for_studies,
    key_values,
    list_studies,
    load_study,
    refuse_bare_study,
    say,
    split_list,
    split_names,
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
  bpttlab tables study=first table=growth columns=cell,spectral_radius,growth_rate 'where=cell=gru spectral_radius>=1'
  bpttlab tables study=first table=growth columns=spectral_radius,growth_rate to=growth.tex
  bpttlab tables study=first table=runs 'where=status=failed' columns=seed,error to=failed.csv
  bpttlab tables study=mine table=updates --watch            networks while they are trained (docs/monitor.md)
  bpttlab tables study=                         the names of the studies

table= also takes a stored table (runs, jacobians, ...: docs/tables.md). columns= and where= take its columns, headings
as they are printed (asymptotic_rate, T, rho), and fields as a sweep's line has them. to= writes what is chosen, every
row of it: .csv has every digit, .md is a page, .tex is for a column of a paper: constant columns are named once, hashes
are left out, rules are those of booktabs. networks=path writes to tables/networks_path, beside the tables of single
files.

Intervals are 95 %, of the median over networks by order statistics, and need six networks. docs/tables.md describes
every column. A study of an experiment has the tables of that experiment as well; plugins= adds your own.
Exit code: 0: success; 1: a stored file is damaged and was left out; 2: the command could not finish, or a table of
your own failed; the message says why.
"""

TABLE = Key("table", "print only this summary (default: those that fit)")
_COLUMNS = Key("columns", "print these columns of the table, with commas between", value="NAME")
_WHERE = Key("where", "print these rows: FIELD=VALUE,VALUE; also !=, <, <=, >, >=; spaces between", value="CONDITION")
_TO = Key("to", "write what is chosen to this file: .csv, .md or .tex", value="FILE")
ALL = Key("all", "true: print everything (default: false)", "false", ("true", "false"))

SENTENCES = 4
"""The most sentences below one of several tables."""

SCREEN = 40
"""Lines that are printed where nothing else is asked for."""


def register(commands: Any) -> None:
    """Adds `bpttlab tables`."""
    parser = add_command(
        commands,
        "tables",
        _command,
        (STUDY, TABLE, _COLUMNS, _WHERE, _TO, ALL, NETWORKS_KEY, EXPERIMENT, PLUGINS_KEY, RESULTS),
        summary="write the summaries of a study as CSV, Markdown and LaTeX, and print them",
        usage="study=NAME [TABLE] [columns=NAME] [where=CONDITION] [to=FILE] [all=true] [networks=path]\n"
        "                      [experiment=NAME] [plugins=FILE.py] [results=FOLDER] [--watch]",
        description=_DESCRIPTION,
        text=_TEXT,
    )
    parser.add_argument("--watch", action="store_true", help="print again whenever runs are added, until Ctrl-C")


def _command(parsed: argparse.Namespace) -> int:
    """Writes all summaries and prints some."""
    if asks_for_studies(parsed.words):
        return list_studies(parsed.words)
    names, words = split_names(parsed.words, parsed.keys)
    refuse_bare_study(names, words, "table")
    chosen = key_values(words, parsed.keys, "tables")
    if len(names) + bool(chosen["table"]) > 1:
        raise ConfigurationError(f"{' '.join(names)}: give one table")
    chosen["table"] = chosen["table"] or "".join(names)
    with plugins.use(chosen["plugins"] or None):
        return watch_runs(chosen) if parsed.watch else write_and_print(chosen)


def watch_runs(chosen: dict[str, str]) -> int:
    """Prints whenever runs were added, in place of what was printed before if that was on a terminal."""
    shown: set[str] | None = None
    try:
        while True:
            stored = set(os.listdir(Path(chosen["results"], chosen["study"], "store", "runs")))
            if stored != shown:
                print("\x1b[H\x1b[2J" if sys.stdout.isatty() and shown is not None else "", end="")
                write_and_print(chosen)
                shown = stored
            sys.stdout.flush()
            time.sleep(WATCH_SECONDS)
    except KeyboardInterrupt:
        return 0
    except FileNotFoundError:
        load_study(chosen)  # which says what there is
        raise


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
    if wanted and (wanted not in summaries or any(chosen[key] for key in _CHOICES)):
        return print_choice(chosen, study, summaries)
    if any(chosen[key] for key in _CHOICES):
        raise ConfigurationError("table is missing: columns=, where= and to= are of one table; say table=NAME")
    for name, frame in summaries.items():
        said = [*tables.find_caption(name, frame), *tables.find_sentences(name, frame)]
        tables.write(frame, study.folder_of("tables") / name, said)
    width = shutil.get_terminal_size((120, 24)).columns
    shown = {wanted: summaries[wanted]} if wanted else summaries
    text = "\n".join(show(name, frame, width, None if whole else SCREEN) for name, frame in shown.items())
    say(text if wanted or whole else screenful(summaries, width), end="")
    say(f"tables: {study.folder_of('tables')} ({len(summaries)} as .csv, .md and .tex)")
    name_unread_plugins(chosen, study)
    for name, why in made.failed.items():
        say(f"not made: {name}: {why}", error=True)
    return 2 if made.failed else 0


_CHOICES = ("columns", "where", "to")
"""Keys that choose from one table."""


def print_choice(chosen: dict[str, str], study: Study, summaries: dict[str, pd.DataFrame]) -> int:
    """Prints the chosen rows and columns of a summary or of a stored table, and writes them where to= says."""
    from bpttlab import tables

    name, whole = chosen["table"], chosen["all"] == "true"
    if chosen["to"]:
        tables.refuse_other_form(chosen["to"])
    if (reason := find_reason(name, summaries, study)) and not chosen["to"]:
        say(f"{name} is empty: {reason}")
        return 0
    frame = tables.choose_rows_where(find_table(chosen, study, summaries), chosen["where"])
    shown, caption = choose_shown(frame, name, split_list(chosen["columns"]))
    width = shutil.get_terminal_size((120, 24)).columns
    text = tables.format_table(shown, width, None if whole else SCREEN, whole or name in summaries, caption)
    say(f"{name}\n{text}" if len(frame) else f"{name}: no row fulfils where={chosen['where']}\n", end="")
    if chosen["to"]:
        say(f"written to {tables.export_table(shown, chosen['to'], caption)}")
    return 0


def choose_shown(frame: pd.DataFrame, name: str, columns: list[str]) -> tuple[pd.DataFrame, list[str]]:
    """The columns of a table that are shown, and its caption: with what all rows share of those that are not."""
    from bpttlab import tables

    caption = tables.find_caption(name, frame)
    if not columns:
        return frame, caption
    shown = tables.choose_columns(frame, columns)
    return shown, [*tables.describe_shared(frame, shown), *tables.explain_shown(caption, frame, shown)]


def find_reason(name: str, summaries: dict[str, pd.DataFrame], study: Study) -> str:
    """Why a table has no rows; nothing of one that has some, or that there is not."""
    from bpttlab.store.columns import TABLES

    if name in summaries or name in study.tables:
        return ""
    shipped = plugins.find_shipped("table")
    if name in shipped:
        return f"it needs {shipped[name].needs}"
    return "no run of the study has rows there; docs/tables.md says what measures it" if name in TABLES else ""


def find_table(chosen: dict[str, str], study: Study, summaries: dict[str, pd.DataFrame]) -> pd.DataFrame:
    """A summary, or a stored table.

    Raises:
        ConfigurationError: there is no table of that name.
    """
    from bpttlab import tables

    name = chosen["table"]
    if name in summaries:
        return summaries[name]
    if name in study.tables:
        return tables.put_hashes_last(study.table(name))
    if reason := find_reason(name, summaries, study):
        raise LabError(f"to={chosen['to']}: not written: {name} is empty: {reason}")
    known = list(dict.fromkeys([*summaries, *study.tables]))
    unread = find_unread_plugins(chosen, study)
    remedy = f" For tables of your own give plugins={unread}." if unread else ""
    raise ConfigurationError(f"table={name}: must be one of {', '.join(known)}.{nearest(name, known)}{remedy}")


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
    first = {name: place for place, name in enumerate(("headline", *sorted(own), "success", "paired"))}
    for name, frame in sorted(summaries.items(), key=lambda pair: first.get(pair[0], len(first))):
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
