"""Rows that runs repeat: runs that differ only in scheme and truncation share a forward pass, and what it measures.

A summary counts a network once at each point and takes such rows of the first run alone. In a study of ten truncations
nine tenths of the rows are repetitions. They are dropped shard by shard, so that a table of repetitions is never whole
in memory.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from bpttlab.numerics.array import Array
from bpttlab.store.columns import TRAINING

_OF_SCHEMES = ("scheme", "truncation")
_WITH_OTHER_ROWS = "adaptive"
"""The scheme whose bounds are compared with the other rows of its own run."""


class RepeatedRows:
    """The runs of a study by forward pass, and the tables without what they repeat.

    Args:
        runs: the table `runs`, sorted by run_id.
        fixed: its columns that are not of the configuration.
        whole: runs that keep all their rows.
    """

    def __init__(self, runs: pa.Table, fixed: Iterable[str], whole: Collection[str] = ()) -> None:
        self._ids = runs["run_id"].combine_chunks()
        self._pass = number_passes(runs, set(fixed))
        self._whole = np.isin(self._ids.to_numpy(zero_copy_only=False), list(whole))
        if "scheme" in runs.column_names:
            self._whole |= pc.equal(runs["scheme"], _WITH_OTHER_ROWS).fill_null(False).to_numpy()

    def drop(self, parts: Iterable[pa.Table]) -> Iterator[pa.Table]:
        """Rows of one table without the repeated ones, in their order.

        Of a run whose rows are repetitions the first one is left: the table still says which runs have rows.
        """
        first = np.full(len(self._ids), len(self._ids))  # by forward pass: its first run with rows that can be repeated
        kept = [self._drop(rows, first) for rows in parts]
        return (self._drop(rows, first) for rows in kept)

    def _drop(self, rows: pa.Table, first: Array) -> pa.Table:
        run = pc.index_in(rows["run_id"], value_set=self._ids).to_numpy()
        shared = ~self._whole[run]
        if "origin" in rows.column_names:  # only truncations read off the lag terms do not depend on the scheme
            shared &= pc.equal(rows["origin"], "wavefront").to_numpy()
        np.minimum.at(first, self._pass[run[shared]], run[shared])
        opening = np.zeros(len(run), dtype=bool)
        opening[np.unique(run, return_index=True)[1]] = True
        return rows.filter(pa.array(~shared | opening | (first[self._pass[run]] == run)))


def number_passes(runs: pa.Table, fixed: Collection[str]) -> Array:
    """The number of each run's forward pass: equal where configurations differ only in scheme and truncation."""
    names = [
        name for name in runs.column_names if name not in (*fixed, *_OF_SCHEMES) and not name.startswith("scheme_")
    ]
    columns = [*(runs[name] for name in names), *schemes_of_trained(runs)]
    varying = [column for column in columns if pc.count_distinct(column, "all").as_py() > 1]
    codes = [column.combine_chunks().dictionary_encode("encode").indices.to_numpy() for column in varying]
    alike = np.stack(codes, axis=1) if codes else np.zeros((runs.num_rows, 1), dtype=np.int32)
    return np.unique(alike, axis=0, return_inverse=True)[1].reshape(-1)


def schemes_of_trained(runs: pa.Table) -> list[pa.ChunkedArray]:
    """The columns of the scheme, missing where a network is not trained: one that is depends on its scheme."""
    if TRAINING not in runs.column_names:
        return []
    trained = pc.is_valid(runs[TRAINING])
    names = [name for name in runs.column_names if name in _OF_SCHEMES or name.startswith("scheme_")]
    return [pc.if_else(trained, runs[name], pa.scalar(None, runs[name].type)) for name in names]
