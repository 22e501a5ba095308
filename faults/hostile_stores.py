"""Stores that bpttlab did not write: mutations of a small study, whose files have the names that their bytes need."""

from __future__ import annotations

import hashlib
import io
import json
import random
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from bpttlab.store.shards import METADATA


def deep(levels: int) -> Any:
    return [deep(levels - 1)] if levels else 1


VALUES: list[Any] = [
    *(None, True, 0, -1, 2**63, 10**400, 0.5, -0.0, float("nan"), float("inf"), "", "x", "\x00", "\x1b[31m", "🙂" * 50),
    *(
        [],
        [None],
        ["x"],
        {},
        {"name": {}},
        {"": ""},
        deep(20),
        deep(200),
        {f"f{place}": place for place in range(3000)},
    ),
]


def copy_study(source: Path, target: Path) -> Path:
    """A fresh copy of a study's folder."""
    shutil.rmtree(target, ignore_errors=True)
    shutil.copytree(source, target)
    return target


def doctor(study: Path, rng: random.Random) -> str:
    """Changes one thing in a study; what was done."""
    change = rng.choice([doctor_configuration, doctor_metadata, doctor_rows, doctor_bytes, doctor_json])
    return f"{change.__name__}: {change(study, rng)}"


def doctor_configuration(study: Path, rng: random.Random) -> str:
    """A configuration that is other JSON, or none; its run id stays."""
    path = commit_of(study, rng)
    texts = read(path)[0]["configuration"].to_pylist()
    row = rng.randrange(len(texts))
    text = rng.choice([json.dumps(mutate(json.loads(texts[row]), rng)), cut(texts[row], rng), json.dumps(any_of(rng))])
    texts[row] = text.encode(errors="replace").decode()
    rewrite(path, rows=lambda table: set_column(table, "configuration", texts))
    return text[:200]


def doctor_metadata(study: Path, rng: random.Random) -> str:
    """Metadata of a commit, or of another shard, that say something else."""
    path = rng.choice([commit_of(study, rng), sibling_of(study, rng)])
    about = mutate(read(path)[1], rng)
    text = rng.choice([json.dumps(about), json.dumps(about), cut(json.dumps(about), rng)])
    put(study, path, rewrite_bytes(path, about=text.replace("Infinity", "1e400")))
    return f"{path.parent.name} {text[:200]}"


def doctor_rows(study: Path, rng: random.Random) -> str:
    """Rows that are missing, too many, of other columns, types or values."""
    path = rng.choice([commit_of(study, rng), sibling_of(study, rng)])
    name = rng.choice(read(path)[0].column_names)
    kinds: dict[str, Callable[[pa.Table], pa.Table]] = {
        "no rows": lambda table: table.slice(0, 0),
        "rows twice": lambda table: pa.concat_tables([table, table]),
        "a column less": lambda table: table.drop_columns([name]),
        "a column twice": lambda table: table.append_column(name, table[name]),
        "many columns": lambda table: widen(table, 5000),
        "all missing": lambda table: set_column(table, name, [None] * len(table)),
        "infinite": lambda table: set_column(table, name, [any_number(table[name].type, rng)] * len(table)),
        "other type": lambda table: table.set_column(
            table.column_names.index(name), name, pa.array([b"\xff"] * len(table))
        ),
    }
    kind = rng.choice(list(kinds))
    try:
        put(study, path, rewrite_bytes(path, rows=kinds[kind]))
    except pa.ArrowException:  # which no file can have
        return "nothing"
    return f"{kind} of {path.parent.name}.{name}"


def doctor_bytes(study: Path, rng: random.Random) -> str:
    """Bytes that are no Parquet, or damaged Parquet, under the name that they ask for."""
    path = rng.choice([commit_of(study, rng), sibling_of(study, rng)])
    data = bytearray(path.read_bytes())
    for _ in range(rng.randrange(1, 9)):
        data[rng.randrange(len(data))] = rng.randrange(256)
    cut_at = rng.choice([len(data), len(data), 0, 1, rng.randrange(len(data))])
    put(study, path, bytes(data[:cut_at]))
    return f"{path.parent.name}, {cut_at} bytes of {len(data)}"


def doctor_json(study: Path, rng: random.Random) -> str:
    """A record beside the store, such as that of a sweep."""
    path = rng.choice(sorted(study.rglob("*.json")))
    text = json.dumps(mutate(json.loads(path.read_text(encoding="utf-8")), rng))
    path.write_text(rng.choice([text, cut(text, rng), json.dumps(any_of(rng))]), encoding="utf-8", errors="replace")
    return f"{path.name} {text[:200]}"


# ------------------------------------------------------------------ files


def commit_of(study: Path, rng: random.Random) -> Path:
    return rng.choice(sorted((study / "store" / "runs").glob("*.parquet")))


def sibling_of(study: Path, rng: random.Random) -> Path:
    return rng.choice(sorted(path for path in (study / "store").glob("*/*.parquet") if path.parent.name != "runs"))


def read(path: Path) -> tuple[pa.Table, Any]:
    """The rows and the metadata of a shard."""
    file = pq.ParquetFile(path)
    return file.read(), json.loads(file.schema_arrow.metadata[METADATA])


def rewrite_bytes(path: Path, rows: Callable[[pa.Table], pa.Table] | None = None, about: str | None = None) -> bytes:
    table, before = read(path)
    text = json.dumps(before) if about is None else about
    sink = io.BytesIO()
    whole = (rows(table) if rows else table).replace_schema_metadata({METADATA: text.encode(errors="replace")})
    pq.write_table(whole, sink, compression="zstd")
    return sink.getvalue()


def rewrite(path: Path, rows: Callable[[pa.Table], pa.Table]) -> None:
    put(path.parents[2], path, rewrite_bytes(path, rows=rows))


def put(study: Path, path: Path, data: bytes) -> None:
    """Puts bytes in the place of a shard, under their own name, which commits then name."""
    name = hashlib.sha256(data).hexdigest()
    path.unlink()
    path.with_name(f"{name}.parquet").write_bytes(data)
    if path.parent.name == "runs":
        return
    for commit in sorted((study / "store" / "runs").glob("*.parquet")):
        text = json.dumps(read(commit)[1])
        if path.stem in text:
            put(study, commit, rewrite_bytes(commit, about=text.replace(path.stem, name)))


def set_column(table: pa.Table, name: str, values: list[Any]) -> pa.Table:
    place = table.column_names.index(name)
    kind = table.schema.field(place).type
    return table.set_column(place, pa.field(name, kind), pa.array(values, kind))


def widen(table: pa.Table, columns: int) -> pa.Table:
    names = [f"c{place}" for place in range(columns)]
    return pa.Table.from_arrays([*table.columns, *[table.column(0)] * columns], names=[*table.column_names, *names])


# ------------------------------------------------------------------ values


def any_of(rng: random.Random) -> Any:
    return rng.choice(VALUES)


def any_number(kind: pa.DataType, rng: random.Random) -> Any:
    if pa.types.is_floating(kind):
        return rng.choice([float("inf"), float("-inf"), 1e308, -1e308, float("nan"), 5e-324])
    if pa.types.is_boolean(kind):
        return rng.random() < 0.5
    return (
        rng.choice([2**63 - 1, -(2**63), 0]) if pa.types.is_integer(kind) else rng.choice(["", "\x1b[2J", "9" * 5000])
    )


def mutate(value: Any, rng: random.Random) -> Any:
    """The value with something else in one place."""
    if isinstance(value, dict) and value and rng.random() < 0.85:
        key = rng.choice(sorted(value))
        if rng.random() < 0.1:
            return {name: item for name, item in value.items() if name != key}
        if rng.random() < 0.1:
            return {**value, rng.choice(["", "\x00", "status", "a b", "é", "x" * 3000]): any_of(rng)}
        return {**value, key: mutate(value[key], rng)}
    if isinstance(value, list) and value and rng.random() < 0.5:
        return rng.choice([value * 300, [*value[:-1], any_of(rng)], value[:-1]])
    return any_of(rng)


def cut(text: str, rng: random.Random) -> str:
    """The text with a few characters changed, or cut off."""
    letters = list(text)
    for _ in range(rng.randrange(1, 4)):
        letters[rng.randrange(len(letters))] = rng.choice('{}[]",:\\\x00é🙂9e-')
    return "".join(letters)[: rng.choice([len(letters), rng.randrange(len(letters))])]
