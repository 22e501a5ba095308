"""How several launchers of one study divide its work: each computes the bundles of the shares that it has leased.

A share is all bundles whose keys begin with the same three digits, whatever else a launcher has to do. A launcher
leases as many shares as keep its workers busy for a moment, publishes their runs, and returns them. After leasing it
looks what has been published meanwhile, so that it does not repeat what another launcher has computed. When all other
shares are leased by others it waits: for their results, or for the end of the leases of a launcher that was killed
(`store.leases`).
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

from bpttlab.store.commits import Commit
from bpttlab.store.leases import Leases
from bpttlab.store.store import Store
from bpttlab.sweeps.configuration import Configuration
from bpttlab.sweeps.plan import Bundle
from bpttlab.sweeps.progress import format_count

DIGITS = 3
"""Of a share's name; more shares would only be more files to make and to delete."""

LOOKING_SECONDS = 1.0
"""From one look at what others publish, or at a lease of theirs, to the next."""


class Division:
    """The part of a sweep that no launcher has computed yet.

    Attributes:
        elsewhere: the statuses of the runs that other launchers have computed meanwhile.
        shares: the bundles that are left, by share; the longest first.
    """

    def __init__(self, bundles: Iterable[Bundle], store: Store, leases: Leases) -> None:
        self.store = store
        self.leases = leases
        self.elsewhere: Counter[str] = Counter()
        self.shares: dict[str, list[Bundle]] = {}
        for bundle in bundles:
            self.shares.setdefault(share_name(bundle[0]), []).append(bundle)
        self.share_of_run = {
            one.run_id: share for share, several in self.shares.items() for bundle in several for one in bundle
        }
        self._unpublished: dict[str, set[str]] = {}
        self._not_before: dict[str, float] = {}
        self._looked = 0.0
        commits = store.commits_since(())
        self._known = {commit.name for commit in commits}
        self._leave_out({run_id: status for run_id, status in collect_statuses(commits).items() if status != "failed"})

    @property
    def left(self) -> int:
        """How many bundles have neither been computed elsewhere nor been given to this launcher."""
        return sum(map(len, self.shares.values()))

    def take(self, count: int) -> list[Bundle]:
        """About so many bundles, which no other launcher computes now; none if others have all that is left."""
        leased: list[str] = []
        missing, now = count, time.monotonic()
        for share, bundles in self.shares.items():
            if missing <= 0:
                break
            if self._not_before.get(share, 0.0) > now:
                continue
            if self.leases.take(share):
                leased.append(share)
                missing -= len(bundles)
            else:
                self._not_before[share] = now + LOOKING_SECONDS
        if leased or now - self._looked > LOOKING_SECONDS:
            self.look()
        taken = {share: self.shares.pop(share, []) for share in leased}
        for share, bundles in taken.items():
            self._unpublished[share] = {one.run_id for bundle in bundles for one in bundle}
        self._release(leased)
        return [bundle for bundles in taken.values() for bundle in bundles]

    def look(self) -> None:
        """Notices what other launchers have published since the last look."""
        self._looked = time.monotonic()
        new = self.store.commits_since(self._known)
        self._known.update(commit.name for commit in new)
        self._leave_out(collect_statuses(new))

    def note_commit(self, commit: str, run_ids: Iterable[str]) -> None:
        """Notes what this launcher has published, and returns the shares of which all is published."""
        self._known.add(commit)
        touched = {run_id: self.share_of_run[run_id] for run_id in run_ids}
        for run_id, share in touched.items():
            self._unpublished[share].discard(run_id)
        self._release(set(touched.values()))

    def _release(self, shares: Iterable[str]) -> None:
        """Returns those of the shares of which all is published."""
        finished = [share for share in shares if not self._unpublished.get(share)]
        for share in finished:
            self._unpublished.pop(share, None)
        self.leases.release(finished)

    def _leave_out(self, statuses: dict[str, str]) -> None:
        """Takes runs that are stored from the shares that are left."""
        shares = {self.share_of_run[run_id] for run_id in statuses if run_id in self.share_of_run} & self.shares.keys()
        for share in shares:
            before = self.shares[share]
            self.elsewhere.update(statuses[one.run_id] for bundle in before for one in bundle if one.run_id in statuses)
            rest = [tuple(one for one in bundle if one.run_id not in statuses) for bundle in before]
            self.shares[share] = [bundle for bundle in rest if bundle]
            if not self.shares[share]:
                del self.shares[share]


def share_name(configuration: Configuration) -> str:
    """The share of a run, which does not depend on which other runs are requested."""
    return configuration.bundle_key[:DIGITS]


def describe_others(to_do: Iterable[Configuration], study: Path) -> list[str]:
    """A line about the other launchers that work on a study now, if there are any."""
    others = Leases(study).list_others()
    if not others:
        return []
    shares = set().union(*others.values())
    theirs = sum(share_name(one) in shares for one in to_do) if shares else 0
    work = "works" if len(others) == 1 else "work"
    count = format_count(len(others), "other launcher")
    return [f"{count} {work} on this study, and {'has' if len(others) == 1 else 'have'} taken {theirs} of these runs"]


def collect_statuses(commits: Sequence[Commit]) -> dict[str, str]:
    """run_id -> status, of the runs of some commits; a result comes before a failure."""
    found: dict[str, str] = {}
    for commit in commits:
        columns = commit.rows.select(["run_id", "status"]).to_pydict()
        for run_id, status in zip(columns["run_id"], columns["status"], strict=True):
            if found.get(run_id, "failed") == "failed":
                found[run_id] = status
    return found
