"""Imports go down only, and the results wing works with no engine installed."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parents[1] / "bpttlab"

FLOORS = [
    {"errors"},
    {
        "activations",
        "columns",
        "discovery",
        "fields",
        "grids",
        "identity",
        "losses",
        "matrices",
        "own_files",
        "partial_sums",
        "places",
        "random_walks",
        "rows",
        "scaled",
        "schema",
        "theory",
        "threads",
        "verdicts",
    },
    {"initializers"},
    {"cells", "tasks", "truncation"},
    {
        "bptt",
        "checking",
        "checkpointing",
        "compiled_passes",
        "kernels",
        "leading",
        "own_network",
        "paths",
        "precompiled",
        "spectral_norms",
        "state_dict",
        "trace",
    },
    {"forward_mode", "gradient"},
    {
        "adaptive_products",
        "blocks",
        "curves",
        "decay",
        "directions",
        "estimates",
        "jacobians",
        "lags",
        "singular_values",
        "spectra",
        "truncations",
        "windows",
    },
    {"by_blocks", "configuration", "provenance", "measures", "wanted", "overlays", "experiment", "explicit"},
]
RESULTS_WING = {"claims", "multiplicity", "shards", "commits", "study", "store", "where", "asked", "tables", "figures"}
FRONT_DOOR = {
    "overrides",
    "ranges",
    "separable",
    "sweep_values",
    "expansion",
    "progress",
    "workers",
    "planning",
    "forecast",
    "parcels",
    "sweeping",
    "analyses",
    "verification",
    "cli",
    "__main__",
}
LEVEL = {room: level for level, rooms in enumerate(FLOORS) for room in rooms}


def room_of(path):
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imported_rooms(path):
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        names = []
        if isinstance(node, ast.ImportFrom) and node.module:
            inside = node.module == "bpttlab"
            names = [f"bpttlab.{alias.name}" for alias in node.names] if inside else [node.module]
        elif isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        yield from (name.split(".")[1] for name in names if name.startswith("bpttlab."))


FILES = sorted(path for path in PACKAGE.rglob("*.py") if path != PACKAGE / "__init__.py")


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_go_down_only(path):
    room = room_of(path)
    for other in set(imported_rooms(path)) - {room}:
        if room in RESULTS_WING:
            assert LEVEL.get(other, 99) <= 1 or other in RESULTS_WING, f"{room} imports {other}"
        elif room in LEVEL:
            assert other in LEVEL, f"{room} imports {other}"
            assert LEVEL[other] <= LEVEL[room], f"{room} imports {other}, which is above it"
        else:
            assert room in FRONT_DOOR, f"which floor is {room} on?"


def test_every_room_has_a_place():
    rooms = {room_of(path) for path in FILES}
    assert rooms == set(LEVEL) | RESULTS_WING | FRONT_DOOR


def test_no_two_rooms_import_each_other():
    graph = {}
    for path in FILES:
        graph.setdefault(room_of(path), set()).update(set(imported_rooms(path)) - {room_of(path)})

    def reaches(start, goal, seen):
        return any(
            room == goal or (room not in seen and reaches(room, goal, seen | {room})) for room in graph.get(start, ())
        )

    assert [room for room in graph if reaches(room, room, set())] == []


def test_the_results_wing_needs_no_engine():
    blocked = ["bptt", "cells", "tasks", "jacobians", "lags", "experiment", "configuration", "sweeping"]
    code = "import sys\n" + "".join(f"sys.modules['bpttlab.{name}'] = None\n" for name in blocked)
    code += "import bpttlab.store, bpttlab.tables, bpttlab.figures\n"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120)


def test_the_package_itself_imports_nothing_heavy():
    heavy = ("numpy", "pandas", "hydra", "matplotlib")
    code = f"import sys, bpttlab; print([name for name in {heavy} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True, timeout=60)
    assert done.stdout.strip() == "[]"
