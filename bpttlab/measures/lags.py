"""The lags that a measure reports: some, all, or those that are given."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from bpttlab.errors import ConfigurationError, nearest
from bpttlab.fields import check_integer
from bpttlab.numerics.log_spacing import log_spacing


def reported_lags(last: int, lags: str | Iterable[int], count: int) -> list[int]:
    """The lags in ascending order.

    Args:
        last: the longest lag that there is.
        lags: "log" `count` of them, any other string all of them; or the lags themselves.
        count: how many lags "log" stands for.

    Raises:
        ConfigurationError: a lag is not an integer from 0 to `last`.
    """
    if isinstance(lags, str):
        return [int(lag) for lag in (log_spacing(last, count) if lags == "log" else range(last + 1))]
    return sorted({check_integer("lags", lag, 0, last) for lag in lags})


def check_lags(lags: str | Iterable[int], last: int, names: Sequence[str] = ("log", "all")) -> None:
    """Refuses a name of lags that is none of `names`.

    Raises:
        ConfigurationError: the message says what is allowed.
    """
    if isinstance(lags, str) and lags not in names:
        hint = nearest(lags, names)
        allowed = ", ".join(names)
        raise ConfigurationError(f"lags={lags!r}: must be {allowed}, or integers from 0 to {last}.{hint}")
