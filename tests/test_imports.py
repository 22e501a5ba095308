"""Imports between rooms go down only, and results are read, summarised and drawn with no engine installed."""

import ast
import re
import subprocess
import sys
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parents[1] / "bpttlab"

ROOMS = [
    {"errors"},
    {"escapes", "fields", "files", "limits", "plugin_sources", "plugins", "processes", "resources", "streams"}
    | {"user_environment"},
    {"numerics"},
    {"theory", "user_files"},
    {"store"},
    {"networks"},
    {"tasks"},
    {"gradients"},
    {"truncation"},
    {"measures"},
    {"training"},
    {"tables"},
    {"figures"},
    {"sweeps"},
    {"monitoring"},
    {"claims"},
    {"verification"},
    {"cli"},
    {"__main__"},
]
LEVEL = {room: level for level, rooms in enumerate(ROOMS) for room in rooms}
RESULTS = {"store", "tables", "figures"}
GROUND = set().union(*ROOMS[:4])


def room_of(path):
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imported_rooms(path):
    """The rooms that a file imports while it runs; what is imported for types alone does not count."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for_types = {
        id(node)
        for block in ast.walk(tree)
        if isinstance(block, ast.If) and ast.unparse(block.test) == "TYPE_CHECKING"
        for node in ast.walk(block)
    }
    for node in ast.walk(tree):
        names = []
        if id(node) in for_types:
            continue
        if isinstance(node, ast.ImportFrom) and node.module:
            inside = node.module == "bpttlab"
            names = [f"bpttlab.{alias.name}" for alias in node.names] if inside else [node.module]
        elif isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        yield from (name.split(".")[1] for name in names if name.startswith("bpttlab."))


FILES = sorted(path for path in PACKAGE.rglob("*.py") if path != PACKAGE / "__init__.py")


@pytest.mark.parametrize("room", sorted({room_of(path) for path in FILES}))
def test_imports_go_down_only(room):
    for path in FILES:
        for other in set(imported_rooms(path)) - {room} if room_of(path) == room else ():
            assert LEVEL[other] < LEVEL[room] or {room, other} <= ROOMS[1], f"{path} imports {other}, which is above it"
            if room in RESULTS:
                assert other in GROUND | RESULTS, f"{path} imports {other}: results are read without it"


def test_every_room_has_a_place():
    assert {room_of(path) for path in FILES} == set(LEVEL)


def test_no_two_modules_of_one_room_import_each_other():
    graph = {}
    for path in FILES:
        module = ".".join(path.relative_to(PACKAGE).with_suffix("").parts)
        tree = ast.parse(path.read_text(encoding="utf-8"))
        for node in tree.body:
            if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("bpttlab."):
                named = node.module.removeprefix("bpttlab.")
                graph.setdefault(module, set()).update({named, *(f"{named}.{alias.name}" for alias in node.names)})
    TopologicalSorter(graph).prepare()  # of a circle it raises an error that names the modules


def test_results_need_no_engine():
    blocked = ["networks", "tasks", "truncation", "gradients", "measures", "sweeps", "claims", "verification"]
    code = "import sys\n" + "".join(f"sys.modules['bpttlab.{name}'] = None\n" for name in blocked)
    code += "import bpttlab.store.store, bpttlab.tables, bpttlab.figures\n"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120)


def test_the_package_itself_imports_nothing_heavy():
    heavy = ("numpy", "pandas", "hydra", "matplotlib")
    code = f"import sys, bpttlab; print([name for name in {heavy} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True, timeout=60)
    assert done.stdout.strip() == "[]"


def test_no_test_imports_another():
    for path in sorted(PACKAGE.with_name("tests").rglob("test_*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom) and node.module:
                names = [f"{node.module}.{alias.name}" for alias in node.names]
                assert not any(part.startswith("test_") for name in names for part in name.split(".")), (path, names)


def test_the_architecture_page_has_the_rooms_in_order():
    page = (PACKAGE.parent / "docs" / "architecture.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| (`[^|]+) \|", page.split("\n## Rooms\n")[1], flags=re.MULTILINE)
    assert [set(re.findall(r"`(\w+)/?`", row)) for row in rows] == [room for room in ROOMS if room != {"__main__"}]


OF_THE_SAME_NAME = {
    "register": "how each command adds its parser, called by `bpttlab.cli`",
    "TEXT": "each command's help, which `bpttlab.cli` reads by this name",
    "truncation_bias": "a measure, and the summary table of it",
}


def test_a_name_has_one_meaning_in_the_package():
    homes = {}
    for path in FILES:
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            for name in defined_names(node):
                homes.setdefault(name, set()).add(str(path.relative_to(PACKAGE)))
    twice = {name: sorted(files) for name, files in homes.items() if len(files) > 1 and not name.startswith("_")}
    assert set(twice) == set(OF_THE_SAME_NAME), twice


def defined_names(node):
    if isinstance(node, ast.FunctionDef | ast.ClassDef):
        return [node.name]
    targets = node.targets if isinstance(node, ast.Assign) else [node.target] if isinstance(node, ast.AnnAssign) else []
    return [target.id for target in targets if isinstance(target, ast.Name)]
