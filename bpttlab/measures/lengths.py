"""Sequences of different length: each measured to its own end, the rows of all in one table.

What is said of single sequences (products from the last step, exponents, singular values) is computed for the
sequences of each length as a batch of that length, without padding. Sums over sequences (gradients, lag terms) need
nothing of this: padding adds nothing to them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from functools import wraps
from inspect import signature
from typing import TYPE_CHECKING, Any, ParamSpec

import numpy as np

from bpttlab.errors import ConfigurationError
from bpttlab.gradients.inputs import check_errors
from bpttlab.gradients.trace import Trace
from bpttlab.measures.measure import Columns, Context, Measure, Result
from bpttlab.numerics.array import Array
from bpttlab.numerics.columnar import concatenate

if TYPE_CHECKING:
    import pandas as pd

Given = ParamSpec("Given")


# ------------------------------------------------------------------------------------------ of a function


def of_each_length(measure: Callable[Given, pd.DataFrame]) -> Callable[Given, pd.DataFrame]:
    """A measure of a trace with rows by sequence, so that each sequence ends at its own last step.

    "log" lags are chosen for the longest sequence, so that sequences have them in common. A shorter one has those up to
    its length, and its own last lag. Of lags that are given, it has those up to its length. A sequence that is too
    short for another argument (t, window, transient) has no rows. Arguments are refused where the longest sequence
    refuses them.
    """
    parameters = signature(measure)

    @wraps(measure)
    def of_all(*given: Given.args, **named: Given.kwargs) -> pd.DataFrame:
        trace = given[0] if given else named.get("trace")
        if not isinstance(trace, Trace) or not trace.padded:
            return measure(*given, **named)
        bound = parameters.bind(*given, **named)
        bound.apply_defaults()
        return join_frames(measure, trace, bound.arguments)

    return of_all


def join_frames(measure: Callable[..., pd.DataFrame], trace: Trace, arguments: Mapping[str, Any]) -> pd.DataFrame:
    """The frames of each length as one, by sequence; the longest comes first, because it refuses what all refuse."""
    import pandas

    settings = dict(arguments)
    settings.pop("trace")
    whole = None if settings.get("loss") is None else check_errors(trace, settings["loss"])
    if isinstance(settings.get("lags"), Iterable) and not isinstance(settings["lags"], str):
        settings["lags"] = list(settings["lags"])
    first = settings.get("sequences")
    chosen = trace.head(int(first)) if isinstance(first, int | np.integer) and first >= 1 else trace
    frames: list[pd.DataFrame] = []
    to_the_end = False  # whether the last lag of "log" is the whole sequence
    for group in reversed(list(chosen.groups())):
        own = settings | ({} if whole is None else {"loss": group.select(whole[:, : len(chosen.lengths)])})
        if frames and isinstance(own.get("lags"), list):
            own["lags"] = [lag for lag in own["lags"] if lag <= group.trace.length]
            if to_the_end:
                own["lags"].append(group.trace.length)
        try:
            frame = measure(group.trace, **own)
        except ConfigurationError:
            if not frames:
                raise
            continue
        if settings.get("lags") == "log":
            settings["lags"] = frame["lag"].unique().tolist()
            to_the_end = group.trace.length in settings["lags"]
        frames.append(frame.assign(sequence=group.sequences[frame["sequence"]]))
    return pandas.concat(frames).sort_values("sequence", kind="stable", ignore_index=True)


# ------------------------------------------------------------------------------------------ of a measure of a run


def measure_lengths(measure: Measure, context: Context) -> Result:
    """The result of a measure; of one with rows by sequence, to the end of each where sequences differ in length.

    A column of `runs` is then computed for the sequences of each length; it has the median over sequences (for an even
    number, the lower middle value). Columns that belong together (`Measure.together`) come from one sequence, the one
    that the first of them is of.
    """
    if not (measure.ends_with_sequences and context.trace.padded):
        return measure(context)
    groups = context.once("groups", lambda: divide_context(context))
    found = [(measure(part), sequences) for part, sequences in groups]
    counts = [len(sequences) for _, sequences in found]
    tables = {
        table: join_groups([(result.tables.get(table, {}), sequences) for result, sequences in found])
        for table in found[0][0].tables
    }
    return Result(tables, choose_summary([result.summary for result, _ in found], counts, measure.together))


def divide_context(context: Context) -> list[tuple[Context, Array]]:
    """Of the sequences that are measured, those of each length, and which they are."""
    chosen = context.trace.head(context.sampling.sequences)
    parts = []
    for group in chosen.groups():
        loss = None if context.loss is None else group.select(context.errors[:, : len(chosen.lengths)])
        own = replace(context, trace=group.trace, loss=loss, batch=None, longest=chosen.length, known={})
        parts.append((own, group.sequences))
    return parts


def join_groups(parts: Sequence[tuple[Mapping[str, Any], Array]]) -> Columns:
    """Rows of all, by sequence; rows that belong to no sequence are the same in each part, and there once."""
    numbered: list[Columns] = []
    for columns, sequences in parts:
        if not columns:
            continue
        own = {name: np.asarray(values) for name, values in columns.items()}
        of_none = np.array([number is None for number in own["sequence"]], bool)
        if numbered and of_none.any():
            own, of_none = {name: values[~of_none] for name, values in own.items()}, of_none[~of_none]
        own["sequence"] = renumber(own["sequence"], of_none, sequences)
        numbered.append(own)
    joined = concatenate(numbered)
    if not joined:
        return joined
    order = sorted(range(len(joined["sequence"])), key=lambda row: -1 if (b := joined["sequence"][row]) is None else b)
    return {name: values[order] for name, values in joined.items()}


def renumber(numbers: Array, of_none: Array, sequences: Array) -> Array:
    """Numbers within a group as numbers within the batch."""
    found = numbers.copy()
    found[~of_none] = sequences[numbers[~of_none].astype(int)]
    return found


def choose_summary(
    summaries: Sequence[Mapping[str, Any]], counts: Sequence[int], together: Iterable[Sequence[str]] = ()
) -> dict[str, Any]:
    """Each column from the sequence in the middle of its values; of columns that belong together, of the first's.

    Args:
        summaries: of each length.
        counts: how many sequences have it.
        together: names of columns.
    """
    decides = {name: names[0] for names in together for name in names}
    chosen = {}
    for name in summaries[0]:
        deciding = decides.get(name, name)
        place = find_middle([summary.get(deciding) for summary in summaries], counts)
        chosen[name] = summaries[place].get(name)
    return chosen


def find_middle(values: Sequence[Any], counts: Sequence[int]) -> int:
    """The place of the value of the sequence in the middle, in ascending order; None is above all numbers.

    Args:
        values: of each length.
        counts: how many sequences have it.
    """
    each = [place for place, count in enumerate(counts) for _ in range(count)]
    known = [(value is None or value != value, 0 if value is None else value) for value in values]
    ordered = sorted(each, key=known.__getitem__)
    return ordered[(len(ordered) - 1) // 2]
