"""Hostile stored studies, networks and sequences: each is read, or refused in one line in less than two seconds.

    python -m faults stored_files --count COUNT --seed SEED

Half of the files are stored studies of which one thing was changed (`hostile_stores`), under the names that their bytes
need, so that no checksum refuses them. The others are files of a user's own: weights (.npz, .safetensors, .pt) and
sequences (.npz, .csv, .parquet), damaged, with other values, or with a pickle inside. Nothing may be executed or
written elsewhere (`canary`), nothing may reach the terminal unescaped, no traceback may be printed, and a refusal may
take at most two seconds and 1 GB.
"""

from __future__ import annotations

import importlib
import io
import json
import pickle
import random
import struct
import time
import warnings
import zipfile
from collections import Counter
from collections.abc import Callable
from contextlib import redirect_stderr, redirect_stdout
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from bpttlab.cli import main
from bpttlab.errors import DamageWarning, LabError
from bpttlab.store.store import load
from bpttlab.sweeps.configuration import Configuration
from bpttlab.sweeps.run import measure_bundle
from faults.hostile_stores import any_of, copy_study, cut, doctor, mutate
from faults.needs import Progress
from faults.outcome import Outcome
from faults.override_lines import CANARY, KILOBYTES, SECONDS, Bomb, copy_of, memory, sandbox, try_command
from faults.parts import Tried, try_in_parts

WHOLE = 60
"""One of so many studies is read by whole commands; the others by the functions below them."""

SMALL = ["workers=0", "engine=numpy", "sequence_length=6", "cell.hidden_size=3", "batch_size=2", "seed=0,1"]
TO_FINISH = 8.0
"""Seconds of processor time of what is read."""

READERS = ("status", "tables", "claims", "export")


def run(count: int, seed: int = 0, jobs: int = 2, progress: Progress | None = None) -> Outcome:
    """Tries so many files; file n is drawn from the seed "seed:n", so that one can be tried again."""
    with sandbox() as first:
        warm_up(first)
        tried, losses = try_in_parts(partial(try_part, first, seed), count, jobs, progress)
    return Outcome(tried, losses, f"python -m faults stored_files --count {count} --seed {seed}")


def try_part(first: Path, seed: int, places: range) -> Tried:
    """Tries the files of these numbers."""
    tried, losses = Counter[str](), list[str]()
    with copy_of(first) as folder:
        for place in places:
            kind, fault = try_one(random.Random(f"{seed}:{place}"), folder, place)
            tried[kind] += 1
            losses += [f"{seed}:{place} {kind}: {fault}"[:2000]] if fault else []
    return tried, losses


def try_one(rng: random.Random, folder: Path, place: int) -> tuple[str, str]:
    """The kind of one file, and what was wrong with how it was read; "" if nothing was."""
    if place % 2:
        return try_own_file(rng, folder)
    study = copy_study(folder / "results" / "first", folder / "results" / "doctored")
    try:
        done = doctor(study, rng)
    except RecursionError:  # of what draws the change
        return "nothing changed", ""
    if place % WHOLE:
        how, fault = try_call(read_study, folder)
    else:
        how, fault = "given to a command", try_command([rng.choice(READERS), "study=doctored"], folder)
    return f"{done.partition(':')[0].replace('_', ' ')} {how}", f"{done}: {fault}" if fault else ""


def read_study() -> None:
    """Reads all tables."""
    study = load("doctored")
    for name in study.tables:
        study.table(name)


def try_call(function: Callable[[], object], folder: Path) -> tuple[str, str]:
    """Whether a function read or refused what it was given, and what is wrong with how it ended; "" if nothing is."""
    begun, before = time.process_time(), memory()
    refused = False
    with CANARY.watch() as seen, warnings.catch_warnings():
        warnings.simplefilter("ignore", DamageWarning)
        try:
            function()
        except LabError as error:
            refused = True
            seen.extend(["an empty message"] if not str(error).strip() else [])
        except Exception as error:
            seen.append(f"{type(error).__name__}: {error}")
    seconds, grown = time.process_time() - begun, memory() - before
    faults = [*seen, *([f"{seconds:.1f} s"] if seconds > (SECONDS if refused else TO_FINISH) else [])]
    faults += [f"{grown} kB"] if grown > KILOBYTES else []
    faults += ["executed"] if (folder / "executed").exists() else []
    return "refused" if refused else "read", "; ".join(faults)


# ------------------------------------------------------------------ files of a user's own


def try_own_file(rng: random.Random, folder: Path) -> tuple[str, str]:
    """Writes a network or sequences, and measures a run of them; or gives it to the command."""
    kind = rng.choice([*NETWORKS, *SEQUENCES])
    path = folder / f"own.{kind.partition(' ')[2]}"
    data = (NETWORKS | SEQUENCES)[kind](rng)
    path.write_bytes(damage_bytes(data, rng) if rng.random() < 0.4 else data)
    group = "cell" if kind in NETWORKS else "task"
    name = "from_file" if kind in NETWORKS else "file"
    if rng.random() < 1 / WHOLE:
        words = [f"{group}={name}", f"{group}.path={path.name}", "workers=0", "sequence_length=6", "batch_size=2"]
        return f"{kind} given to a command", try_command(["sweep", "study=own", *words, "--dry-run"], folder)
    how, fault = try_call(lambda: measure_file(group, name, path.name), folder)
    return f"{kind} {how}", fault


def measure_file(group: str, name: str, path: str) -> None:
    """A short run of a file.

    Raises:
        RuntimeError: its reason is an error that this program does not know.
    """
    values: dict[str, Any] = {"sequence_length": 6, "batch_size": 2, "measure": "gradient", "engine": "numpy"}
    values[group] = {"name": name, "path": path}
    if group == "cell":
        values |= {"task": {"name": "noise", "input_size": 2}}
    (records,) = measure_bundle([Configuration.parse(values)])
    error = str(records.run.get("error") or "")
    if error.partition(":")[0] in KNOWN_FAULTS:
        raise RuntimeError(error)


KNOWN_FAULTS = ("TypeError", "ValueError", "KeyError", "IndexError", "AttributeError", "UnicodeDecodeError", "OSError")


def draw_weights(rng: random.Random) -> dict[str, Any]:
    """The tensors of an LSTM with a readout, some of them changed."""
    numbers = np.random.default_rng(rng.randrange(2**32))
    shapes = {"weight_ih_l0": (12, 2), "weight_hh_l0": (12, 3), "bias_ih_l0": (12,), "bias_hh_l0": (12,)}
    tensors: dict[str, Any] = {f"rnn.{name}": numbers.standard_normal(shape) for name, shape in shapes.items()}
    tensors |= {"head.weight": numbers.standard_normal((1, 3)), "head.bias": numbers.standard_normal(1)}
    return change_arrays(tensors, rng)


def draw_sequences(rng: random.Random) -> dict[str, Any]:
    numbers = np.random.default_rng(rng.randrange(2**32))
    arrays = {"x": numbers.standard_normal((5, 8, 2)), "target": numbers.standard_normal((5, 8, 1)), "mask": np.ones(8)}
    return change_arrays(arrays, rng)


def change_arrays(arrays: dict[str, Any], rng: random.Random) -> dict[str, Any]:
    """Some arrays with other names, shapes, types or values; or none changed."""
    for _ in range(rng.choice([0, 1, 1, 2])):
        name = rng.choice(sorted(arrays))
        array = arrays[name]
        change = rng.choice(sorted(CHANGES))
        if change == "renamed":
            arrays[rng.choice(["x\x1b[31m", "", "../x", "é" * 500, "rnn.weight_ih_l999999999999"])] = arrays.pop(name)
        elif change == "missing" and len(arrays) > 1:
            del arrays[name]
        elif isinstance(array, np.ndarray) and array.dtype.kind == "f":
            arrays[name] = CHANGES[change](array)
    return arrays


LARGE = 100_000
"""Numbers of an array that is not made larger: twice would be gigabytes."""

CHANGES: dict[str, Callable[[Any], Any]] = {
    "renamed": lambda array: array,
    "missing": lambda array: array,
    "no numbers": lambda array: np.atleast_1d(array)[:0],
    "flat": lambda array: array.reshape(-1),
    "scalar": lambda array: np.array(1.0),
    "many axes": lambda array: array.reshape((1,) * 20 + array.shape),
    "not finite": lambda array: array * np.nan,
    "huge": lambda array: np.full(array.shape, 1e308),
    "integers": lambda array: to_integers(array),
    "text": lambda array: array.astype("U3"),
    "complex": lambda array: array.astype(complex),
    "objects": lambda array: np.full(array.shape, Bomb(), dtype=object),
    "records": lambda array: np.zeros(array.shape, dtype=[("a", "f8"), ("b", "U9")]),
    "large": lambda array: np.zeros((2000, *array.shape)) if array.size < LARGE else array,
}


def to_integers(array: Any) -> Any:
    """Some integers, also of values that have none."""
    with np.errstate(invalid="ignore"):
        return array.astype(np.int64)


def write_npz(arrays: dict[str, Any]) -> bytes:
    sink = io.BytesIO()
    with zipfile.ZipFile(sink, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, array in arrays.items():
            entry = io.BytesIO()
            np.lib.format.write_array(entry, np.asanyarray(array), allow_pickle=True)
            archive.writestr(f"{name}.npy", entry.getvalue())
    return sink.getvalue()


def write_safetensors(arrays: dict[str, Any], rng: random.Random) -> bytes:
    """From its specification: the header's length, the header, the numbers."""
    header: dict[str, Any] = {}
    data = b""
    for name, array in arrays.items():
        kept = np.asarray(array, dtype=np.float64) if np.asarray(array).dtype.kind in "fi" else np.zeros(1)
        header[name] = {"dtype": "F64", "shape": [*kept.shape], "data_offsets": [len(data), len(data) + kept.nbytes]}
        data += kept.tobytes()
    text = json.dumps(mutate(header, rng) if rng.random() < 0.5 else header)
    if rng.random() < 0.2:
        text = cut(text, rng)
    encoded = text.encode(errors="replace")
    length = rng.choice([len(encoded)] * 8 + [0, 2**63, len(encoded) + 10**6])
    return struct.pack("<Q", length) + encoded + data


def write_table(rng: random.Random, kind: str) -> bytes:
    """Sequences as a table, with another value in some places."""
    rows: dict[str, list[Any]] = {"sequence": [place // 8 for place in range(40)], "step": [*range(8)] * 5}
    rows |= {"x": [rng.random() for _ in range(40)], "y": [rng.random() for _ in range(40)]}
    for _ in range(rng.choice([0, 1, 2])):
        name = rng.choice(sorted(rows))
        rows[rng.choice([name, name, "", "x_\x1b[2J", "y" * 5000, "class"])] = rows.pop(name)
    frame = pd.DataFrame(rows)
    if kind == "csv":
        text = frame.to_csv(index=False)
        for _ in range(rng.choice([0, 1, 3])):
            text = text.replace(
                rng.choice(text.split("\n")[1].split(",")), str(any_of(rng))[:5000], rng.choice([1, 99])
            )
        return text.encode(errors="replace")
    return bytes(frame.to_parquet())


def damage_bytes(data: bytes, rng: random.Random) -> bytes:
    changed = bytearray(data)
    for _ in range(rng.randrange(1, 9)):
        changed[rng.randrange(len(changed))] = rng.randrange(256)
    return bytes(changed[: rng.choice([len(data), len(data), rng.randrange(len(data))])])


NETWORKS: dict[str, Callable[[random.Random], bytes]] = {
    "weights npz": lambda rng: write_npz(draw_weights(rng)),
    "weights safetensors": lambda rng: write_safetensors(draw_weights(rng), rng),
    "weights pt": lambda rng: pickle.dumps(Bomb()),
}
SEQUENCES: dict[str, Callable[[random.Random], bytes]] = {
    "sequences npz": lambda rng: write_npz(draw_sequences(rng)),
    "sequences csv": lambda rng: write_table(rng, "csv"),
    "sequences parquet": lambda rng: write_table(rng, "parquet"),
}


def warm_up(folder: Path) -> None:
    """Stores the study that is changed, and imports what reading needs, outside of what is watched.

    A dry run asks which loops are compiled; the compiler's library is loaded for that, which `canary` would take for
    an attack.
    """
    importlib.import_module("llvmlite.binding")
    with redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()):
        main(["sweep", "study=first", *SMALL])
        for command in READERS:
            main([command, "study=first"])
        for kind in [*NETWORKS, *SEQUENCES]:
            path = folder / f"own.{kind.partition(' ')[2]}"
            path.write_bytes((NETWORKS | SEQUENCES)[kind](random.Random(0)))
            group, name = ("cell", "from_file") if kind in NETWORKS else ("task", "file")
            main(
                ["sweep", "study=own", f"{group}.path={path.name}", f"{group}={name}", "sequence_length=6", "--dry-run"]
            )
