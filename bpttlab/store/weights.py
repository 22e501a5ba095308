"""The stored weights of trained networks: rows of the table `weights`, and how one network of a study is found.

A network is named by `study:run@update`. `run` is the id of one of its runs, or its `network_id`, or the beginning of
either. Weights are numbers in a shard whose SHA-256 its commit names, like all that is measured.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from bpttlab.errors import ConfigurationError, LabError, nearest
from bpttlab.fields import Plain
from bpttlab.numerics.array import Array
from bpttlab.store.columns import TRAINING, UPDATE, WEIGHTS_TABLE
from bpttlab.store.commits import Stored, choose
from bpttlab.store.damage import Damage
from bpttlab.store.identity import parse_canonical
from bpttlab.store.shards import deserialise, read_shard, shard_path, stamp
from bpttlab.store.store import Store

ID_DIGITS = 8
"""Of a run's id, where it is named."""

SHOWN_NAMES = 6
"""Of the runs or updates that a message lists."""

_CONTENT_DIGITS = 32

Entries = Mapping[str, Array]
"""Parameter -> its entries, row by row."""


def weights_columns(params: Entries) -> dict[str, Array]:
    """The rows of the table `weights` of one run."""
    names = sorted(params)
    sizes = [params[name].size for name in names]
    return {
        "parameter": np.repeat(np.array(names), sizes),
        "index": np.concatenate([np.arange(size) for size in sizes]),
        "value": np.concatenate([np.ravel(params[name]).astype(np.float64) for name in names]),
    }


class StoredWeights(NamedTuple):
    """The weights of a run, where they are, and what they are of.

    Attributes:
        folder: of the table `weights`.
        shards: that have them.
        run_id: their run.
        network_id: the training run.
        update: after how many updates they were measured.
        configuration: of the training run.
        content: the first 32 digits of the SHA-256 of names and numbers.
        sizes: entries of each parameter.
    """

    folder: Path
    shards: tuple[str, ...]
    run_id: str
    network_id: str
    update: int
    configuration: Plain
    content: str
    sizes: Mapping[str, int]

    def read(self) -> Entries:
        """The numbers.

        Raises:
            LabError: their file is damaged or gone.
        """
        return read_entries(self.folder, self.shards, self.run_id)


@lru_cache(maxsize=16)
def read_entries(folder: Path, shards: tuple[str, ...], run_id: str) -> Entries:
    """The numbers of a run; not to be changed.

    Raises:
        LabError: a shard is damaged or missing, or has no such rows.
    """
    damage, found = Damage(folder.parent.parent), dict[str, list[Array]]()
    for shard in shards:
        path = shard_path(folder, shard)
        data = read_shard(path, damage)
        if data is None:
            raise LabError(f"its weights cannot be read: {damage.describe()}")
        rows = deserialise(data, path)[0]
        own = rows.filter(np.array(rows["run_id"].to_pylist(), object) == run_id)
        names = np.array(own["parameter"].to_pylist(), object)
        for name in dict.fromkeys(names.tolist()):
            found.setdefault(name, []).append(own["value"].to_numpy()[names == name])
    if not found:
        raise LabError(f"its weights cannot be read: no shard in {folder} has rows of run {run_id}")
    return {name: np.concatenate(parts) for name, parts in sorted(found.items())}


def content_of(arrays: Entries) -> str:
    """By what weights are known, whatever run, study or file they are in."""
    found = hashlib.sha256()
    for name, values in sorted(arrays.items()):
        found.update(f"{name} {values.size}\n".encode() + np.ascontiguousarray(values, "<f8").tobytes())
    return found.hexdigest()[:_CONTENT_DIGITS]


# ------------------------------------------------------------------ which network


def find_weights(study: Path, run: str, update: int | None) -> StoredWeights:
    """The weights of a trained network.

    Args:
        study: its folder.
        run: the beginning of a `run_id` or of a `network_id`.
        update: after how many updates; None: that of the run.

    Raises:
        LabError: there is no such study, run or update, or there are no weights; the message lists what there is.
    """
    seen = stamp(study / "store" / "runs")  # of a folder: it changes when a commit is published
    return _find_weights(study, run, update, seen)


@lru_cache(maxsize=256)
def _find_weights(study: Path, run: str, update: int | None, seen: Any) -> StoredWeights:
    store = Store(study.parent, study.name)
    store.refuse_if_missing()
    commits, damage = store.survey(thorough=False)
    runs = choose(commits, damage.commits)
    networks = {stored.run_id: network_of(stored) for stored in runs.values()}
    matching = [one for one, network in networks.items() if one.startswith(run) or network.startswith(run)]
    if len({networks[one] for one in matching}) != 1:
        raise ConfigurationError(describe_matches(study.name, run, [runs[one] for one in matching], runs.values()))
    network = networks[matching[0]]
    measured = measured_updates(one for one in runs.values() if networks[one.run_id] == network)
    if not measured:
        raise ConfigurationError(f"run {matching[0]} is of a network that no sweep has trained (training=none)")
    stored = measured[choose_update(update, matching, measured)]
    shards = tuple(stored.commit.shards_of(WEIGHTS_TABLE.name))
    if stored.status != "done":
        reason = stored.commit.rows["error"][stored.row].as_py()
        raise ConfigurationError(f"run {stored.run_id} has no weights, it {stored.status}: {reason}")
    if not shards:
        raise ConfigurationError(
            f"study '{study.name}' has no weights of run {stored.run_id}: an earlier version of bpttlab computed it; "
            "sweep again into another study"
        )
    return locate_weights(store.path / "store" / WEIGHTS_TABLE.name, shards, stored)


def locate_weights(folder: Path, shards: tuple[str, ...], stored: Stored) -> StoredWeights:
    """The weights of a run of a commit."""
    arrays, plain = read_entries(folder, shards, stored.run_id), configuration_of(stored)
    sizes = {name: values.size for name, values in arrays.items()}
    of_run = stored.run_id, network_of(stored), plain[UPDATE], plain
    return StoredWeights(folder, shards, *of_run, content_of(arrays), sizes)


def network_of(stored: Stored) -> str:
    network: str = stored.commit.rows["network_id"][stored.row].as_py()
    return network


def configuration_of(stored: Stored) -> Plain:
    plain = parse_canonical(stored.configuration)
    return plain if isinstance(plain, dict) else {}


def measured_updates(runs: Iterable[Stored]) -> dict[int, Stored]:
    """Update -> a run, of the runs of one network; runs with other measures have the same weights, and a whole one is
    preferred."""
    found: dict[int, Stored] = {}
    for stored in sorted(runs, key=lambda one: (one.status != "done", one.run_id)):
        plain = configuration_of(stored)
        if TRAINING in plain and type(plain.get(UPDATE)) is int:
            found.setdefault(plain[UPDATE], stored)
    return dict(sorted(found.items()))


def choose_update(update: int | None, matching: Sequence[str], measured: Mapping[int, Stored]) -> int:
    """The update that is meant; without one, that of the only run that was named."""
    own = [one for one, stored in measured.items() if stored.run_id in matching]
    if update is None and len(own) == 1:
        return own[0]
    if update is None or update not in measured:
        there = f"it was measured at {', '.join(map(str, measured))}"
        raise ConfigurationError(
            f"@UPDATE is missing; {there}" if update is None else f"there is no update {update}; {there}"
        )
    return update


def describe_matches(study: str, run: str, matching: Sequence[Stored], runs: Iterable[Stored]) -> str:
    """Why a name is none of one network."""
    if matching:
        several = list(dict.fromkeys(map(network_of, matching)))
        return f"{run!r} begins the ids of several networks of study '{study}': {list_names(several)}; add digits"
    trained = trained_networks(runs)
    if not trained:
        return f"study '{study}' has no trained network (training=standard trains one)"
    there = f"its trained networks (network_id) are {list_names(trained)}"
    return f"study '{study}' has no run {run!r}; {there}.{nearest(run, [one[: len(run)] for one in trained])}"


def trained_networks(runs: Iterable[Stored]) -> list[str]:
    """The ids of networks that a sweep has trained."""
    return list(dict.fromkeys(network_of(one) for one in runs if TRAINING in configuration_of(one)))


def list_weights(study: Path) -> list[str]:
    """The measured updates of the networks that a study has trained, as a line names them: 0a1b2c3d@500."""
    runs = choose(Store(study.parent, study.name).commits_since(())).values()
    of_run = [(network_of(one)[:ID_DIGITS], configuration_of(one)) for one in runs if one.status == "done"]
    named = {(network, plain[UPDATE]) for network, plain in of_run if TRAINING in plain}
    return [f"{network}@{update}" for network, update in sorted(named)]


def list_names(names: Sequence[str]) -> str:
    """The first of some ids, each with some digits."""
    shown = [name[:ID_DIGITS] for name in names[:SHOWN_NAMES]]
    more = len(names) - len(shown)
    return ", ".join(shown) + (f" and {more} more" if more else "")
