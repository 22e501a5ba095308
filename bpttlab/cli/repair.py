"""`bpttlab repair`: sets aside what is damaged in a study."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from bpttlab.cli.arguments import RESULTS, STUDY, add_command, key_values, say, split_plugins

if TYPE_CHECKING:
    from bpttlab.store.damage import Fault
    from bpttlab.store.repairs import Repair
    from bpttlab.store.store import Store

_DESCRIPTION = """\
Sets aside what is damaged in a study, so that the same sweep line computes its runs again. Files are moved to
results/NAME/damaged/, where a record says why; nothing is deleted."""

_TEXT = """\
examples:

  bpttlab repair study=first --dry-run     shows what is damaged, and which runs would be computed again
  bpttlab repair study=first               then repeat the line of the sweep, which is shown

Damaged is a file whose bytes are not those that were published, or that is missing; bpttlab status names it. All files
that were published with it in one commit are set aside, and exactly the runs of that commit are missing afterwards.
A commit is the runs that were stored at once; a file of store/runs says which. If that file was deleted, the others of
its commit are set aside, and status names it until a repair, or until all its runs are stored again. A repair may be
repeated, killed, and done while a sweep of the study is running. Without damage nothing is done.
Python: bpttlab.repair("first", dry_run=True).

Exit code: 0: success; 2: the command could not finish; the message says why.
"""


def register(commands: Any) -> None:
    """Adds `bpttlab repair`."""
    parser = add_command(
        commands,
        "repair",
        _command,
        (STUDY, RESULTS),
        summary="set damaged files aside, so that the same sweep computes their runs again",
        usage="study=NAME [results=FOLDER] [--dry-run]",
        description=_DESCRIPTION,
        text=_TEXT,
    )
    parser.add_argument("--dry-run", action="store_true", help="only show what would be done")


def _command(parsed: argparse.Namespace) -> int:
    """Repairs a study and says how its runs are computed again."""
    _, words = split_plugins(parsed.words)  # of no use here, but on the line of the sweep
    chosen = key_values(words, parsed.keys, "repair")
    from bpttlab.store.store import Store, repair

    done = repair(chosen["study"], chosen["results"], dry_run=parsed.dry_run)
    say("\n".join(describe_repair(done, Store(chosen["results"], chosen["study"]), parsed.dry_run)))
    return 0


def describe_repair(done: Repair, store: Store, dry_run: bool) -> Iterator[str]:
    """What was done, and what is left to do."""
    from bpttlab.store.repairs import DAMAGED_FOLDER
    from bpttlab.sweeps.progress import format_count

    if not done:
        yield f"{store.path}: nothing is damaged"
        return
    verb = "would be set aside" if dry_run else f"set aside in {store.path / DAMAGED_FOLDER}"
    yield f"{store.path}: {format_count(len(done.aside), 'file')} {verb}"
    yield from (f"  missing: {_shown_fault(fault)}" for fault in done.gone)
    yield from (f"  {_shown_fault(fault)}" for fault in done.aside)
    if done.gone:
        yield f"what is missing {'would not be' if dry_run else 'is not'} named as damage any more"
    yield f"not stored {'then' if dry_run else 'now'}: {format_count(len(done.runs), 'run')} as far as is known"
    if not dry_run:
        yield from describe_next(store)


def _shown_fault(fault: Fault) -> str:
    """The file, the reason, and the runs if it is the file that they are lost with."""
    return fault.describe() if fault.runs else f"{fault.file} ({fault.reason})"


def describe_next(store: Store) -> Iterator[str]:
    """The lines to repeat."""
    from bpttlab.cli.status import StatusReport
    from bpttlab.store.leases import Leases

    if Leases(store.path).list_others():
        yield "a sweep of this study is running, which does not compute them again: repeat lines when it has ended"
    yield from StatusReport(store).read_status(with_launchers=False).describe_missing()
