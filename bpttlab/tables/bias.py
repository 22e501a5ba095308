"""The effect of a truncation on the gradient, over networks."""

from __future__ import annotations

import numpy as np
import pandas as pd

from bpttlab.tables.frame_arguments import takes_frames
from bpttlab.tables.points import describe_rows, join_names, scheme_columns
from bpttlab.tables.statistics import count_networks, group_rows, networks_in, numbers, with_interval

KEYS = ("origin", "scheme", "truncation", "parameter")
_VALUES = ("log_relative_bias", "cosine", "log_norm")


@takes_frames
def truncation_bias(truncations: pd.DataFrame, runs: pd.DataFrame | None = None) -> pd.DataFrame:
    """One row per sweep point, origin, scheme, truncation and parameter: bias, cosine and norm over networks.

    Each value is a median over networks. `_low` and `_high` are the 95 % interval of that median by order statistics
    (NA below six values). `exact` counts networks whose bias is exactly zero (log -inf: the truncation reaches the
    whole sequence); they are included in median and interval. `truncation` NA is the full gradient. Each network counts
    once.

    truncations: the stored table with its configuration joined, or with `runs` given separately.
    """
    fields = scheme_columns(describe_rows(truncations, runs))
    rows = join_names(truncations, runs, [*KEYS, *length_column(truncations), *_VALUES, "steps_computed"], fields)
    for field in fields:  # a row from the lag terms is the same for every scheme of the run
        rows[field] = rows[field].where(rows["origin"] != "wavefront")
    point = [name for name in map(str, rows) if name not in {"run_id", "network_id", *_VALUES, "steps_computed"}]
    by = sorted(point, key=lambda name: (name in (*KEYS, *fields),))  # the point first, then the scheme
    rows = rows.sort_values("run_id", kind="stable").drop_duplicates(["network_id", *by]).reset_index(drop=True)
    keys, group = group_rows(rows, by)
    exact = count_networks(numbers(rows["log_relative_bias"]) == -np.inf, group)
    table = keys.assign(networks=networks_in(rows, group), exact=exact)
    for name in _VALUES:
        table = table.assign(**with_interval(rows, group, name))
    return table.assign(steps_computed=rows.groupby(group)["steps_computed"].median()).reset_index(drop=True)


def length_column(truncations: pd.DataFrame) -> list[str]:
    """The column of the measured prefix length, if it is not the sequence length itself."""
    lengths = truncations.get("length"), truncations.get("sequence_length")
    if lengths[0] is None or (lengths[1] is not None and bool((lengths[0] == lengths[1]).all())):
        return []
    return ["length"]
