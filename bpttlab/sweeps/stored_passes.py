"""What stored runs tell of the forward passes of new ones: the extension of a sweep copies it.

Runs that differ in scheme and truncation alone have most of their results in common (`Configuration.pass_key`). If one
of them is stored and done, the others copy its rows and columns of all measures that do not depend on the scheme. They
are copied only if the same programs on the same kind of machine would compute the same bytes. What cannot be read is
computed.

Only the process that publishes reads. It reads the shards of a commit once, keeps what it may need, and sends each job
its part.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from bpttlab.measures.measure import Columns, Result
from bpttlab.numerics.array import Array
from bpttlab.store.columns import PROVENANCE, RUNS
from bpttlab.store.commits import Commit
from bpttlab.store.provenance import deciding_facts
from bpttlab.store.store import Store
from bpttlab.sweeps.configuration import Configuration
from bpttlab.sweeps.identity_parts import pass_key_of
from bpttlab.sweeps.plan import Bundle

MOST_BYTES = 256 << 20
"""Of rows that are kept at once; those of the commit that was used least recently are read again if need be."""

OF_ONE_RUN = {"run_id", "network_id", "status", "error", "first_bad_step", "configuration"}
"""Columns of `runs` that are not copied."""


class Donor(NamedTuple):
    """A stored run: `row` of the rows of its commit."""

    commit: Commit
    row: int
    run_id: str


RowsOfRuns = Mapping[str, Mapping[str, pa.Table]]
"""run_id -> table -> its rows."""


class StoredPasses:
    """The results of forward passes that are stored already.

    Args:
        wanted: the runs to compute.
    """

    def __init__(self, store: Store, wanted: Iterable[Configuration]) -> None:
        self.store = store
        self.wanted = {one.pass_key: one for one in wanted} if store.commits_since(()) else {}
        self._here: dict[str, Mapping[str, Any] | None] = {}
        self._read: OrderedDict[str, RowsOfRuns | None] = OrderedDict()
        self.donors = dict(self._find_donors()) if self.wanted else {}

    def of(self, bundles: Iterable[Bundle]) -> dict[str, Result]:
        """pass_key -> what does not depend on the scheme, as far as it is stored, of the runs of some bundles."""
        if not self.donors:
            return {}
        keys = dict.fromkeys(one.pass_key for bundle in bundles for one in bundle)
        found = {key: self._result(key, self.donors[key]) for key in keys if key in self.donors}
        return {key: result for key, result in found.items() if result is not None}

    def _find_donors(self) -> Iterator[tuple[str, Donor]]:
        """One stored run for each forward pass that has one."""
        left: dict[str, set[str]] = {}
        for key, one in self.wanted.items():
            left.setdefault(one.network_id, set()).add(key)
        for commit in self.store.commits_since(()):
            done = commit.rows.filter(pc.equal(commit.rows["status"], "done"))
            if done.num_rows and left.keys() & set(done["network_id"].to_pylist()):
                yield from self._donors_of_commit(commit, left)

    def _donors_of_commit(self, commit: Commit, left: dict[str, set[str]]) -> Iterator[tuple[str, Donor]]:
        """Those of one commit; each pass is taken out of those that are left, by network."""
        facts: dict[str, Mapping[str, Any]] | None = None
        rows = commit.rows.select(["run_id", "network_id", "status", "configuration"]).to_pydict()
        for row, (run_id, network_id, status, text) in enumerate(zip(*rows.values(), strict=True)):
            if status != "done" or not left.get(network_id):
                continue
            facts = self._read_facts(commit) if facts is None else facts
            key = pass_key_of(text)
            if key in left[network_id] and self._is_reproducible(facts.get(run_id, {}), self.wanted[key]):
                left[network_id].remove(key)
                yield key, Donor(commit, row, run_id)

    def _read_facts(self, commit: Commit) -> dict[str, Mapping[str, Any]]:
        """run_id -> its provenance, as far as it can be read."""
        shards = [self.store.readable_rows(PROVENANCE.name, shard) for shard in commit.shards_of(PROVENANCE.name)]
        return {row["run_id"]: row for rows in shards if rows is not None for row in rows.to_pylist()}

    def _is_reproducible(self, facts: Mapping[str, Any], configuration: Configuration) -> bool:
        """Whether a stored run has the bytes that this installation would give it."""
        engine = configuration.values.engine
        if engine not in self._here:
            self._here[engine] = deciding_facts(engine)
        here = self._here[engine]
        return here is not None and {name: facts.get(name) for name in here} == here

    def _result(self, key: str, donor: Donor) -> Result | None:
        """What a stored run tells of its pass; None where its rows cannot be read."""
        rows = self._rows_of_commit(donor.commit)
        if rows is None:
            return None
        configuration = self.wanted[key]
        measures, own = configuration.measure, configuration.measure.own_columns
        names = {*RUNS.names, *(column.name for column in own.summary)} - OF_ONE_RUN - measures.columns_of_scheme
        run = donor.commit.rows.slice(donor.row, 1)
        summary = {name: run[name][0].as_py() for name in run.column_names if name in names}
        there = rows.get(donor.run_id, {})
        tables = {
            name: as_columns(of_origin(there[name], origin))
            for name, origin in measures.tables_of_pass.items()
            if name in there
        }
        return Result({name: columns for name, columns in tables.items() if columns}, summary)

    def _rows_of_commit(self, commit: Commit) -> RowsOfRuns | None:
        """The rows of all runs of a commit from which something is copied; None where a shard cannot be read."""
        if commit.name not in self._read:
            self._read[commit.name] = self._read_rows(commit)
        self._read.move_to_end(commit.name)
        while len(self._read) > 1 and sum(map(bytes_of_rows, self._read.values())) > MOST_BYTES:
            self._read.popitem(last=False)
        return self._read[commit.name]

    def _read_rows(self, commit: Commit) -> RowsOfRuns | None:
        keys = {donor.run_id: key for key, donor in self.donors.items() if donor.commit.name == commit.name}
        tables = {name: None for key in keys.values() for name in self.wanted[key].measure.tables_of_pass}
        found: dict[str, dict[str, pa.Table]] = {}
        for table in tables:
            for shard in commit.shards_of(table):
                rows = self.store.readable_rows(table, shard)
                if rows is None:
                    return None
                for run_id, part in split_by_run(rows, list(keys)):
                    found.setdefault(run_id, {})[table] = part
        return found


def bytes_of_rows(rows: RowsOfRuns | None) -> int:
    return sum(table.nbytes for tables in (rows or {}).values() for table in tables.values())


def split_by_run(rows: pa.Table, run_ids: list[str]) -> Iterator[tuple[str, pa.Table]]:
    """The rows of each of some runs, in their order, without run_id."""
    places = pc.index_in(rows["run_id"], value_set=pa.array(run_ids, pa.string()))
    numbers = places.combine_chunks().fill_null(len(run_ids)).to_numpy(zero_copy_only=False)
    order = np.argsort(numbers, kind="stable")
    ends = np.searchsorted(numbers[order], np.arange(len(run_ids) + 1))
    kept = rows.drop_columns(["run_id"]).take(pa.array(order[: ends[-1]])).combine_chunks()
    for run_id, start, end in zip(run_ids, ends[:-1], ends[1:], strict=True):
        if end > start:
            yield run_id, kept.slice(int(start), int(end - start))


def of_origin(rows: pa.Table, origin: str | None) -> pa.Table:
    """The rows of one origin; None: all."""
    return rows if origin is None else rows.filter(pc.equal(rows["origin"], origin))


def as_columns(rows: pa.Table) -> Columns:
    """Rows as a measure gives them; none where there are none."""
    return {name: as_array(rows[name]) for name in rows.column_names} if rows.num_rows else {}


def as_array(column: pa.ChunkedArray) -> Array:
    """A column as NumPy has it: a missing float is NaN, another missing value None."""
    values = column.combine_chunks()
    if pa.types.is_floating(values.type) or not (values.null_count or pa.types.is_string(values.type)):
        return np.asarray(values.to_numpy(zero_copy_only=False))
    distinct = values.dictionary_encode(null_encoding="encode")  # few texts, each one object
    objects = np.array([*distinct.dictionary.to_pylist()], dtype=object)
    return objects[distinct.indices.to_numpy(zero_copy_only=False)]
