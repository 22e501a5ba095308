"""The state of a step function as one vector: where each part is, and the structure that the function knows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np

from bpttlab.errors import ConfigurationError
from bpttlab.fields import format_value

Path = tuple[str | int, ...]


def list_leaves(tree: Any, path: Path = ()) -> list[tuple[Path, Any]]:
    """The tensors of a tensor, tuple, list or dict, or of these within each other, each with the way to it."""
    if isinstance(tree, Mapping):
        return [leaf for key, part in tree.items() for leaf in list_leaves(part, (*path, str(key)))]
    if isinstance(tree, tuple | list):
        return [leaf for index, part in enumerate(tree) for leaf in list_leaves(part, (*path, index))]
    return [(path, tree)]


def rebuild(tree: Any, leaves: Mapping[Path, Any], path: Path = ()) -> Any:
    """A structure as `tree`, with other leaves."""
    if isinstance(tree, Mapping):
        return {key: rebuild(part, leaves, (*path, str(key))) for key, part in tree.items()}
    if isinstance(tree, tuple | list):
        parts = [rebuild(part, leaves, (*path, index)) for index, part in enumerate(tree)]
        return type(tree)(*parts) if hasattr(tree, "_fields") else type(tree)(parts)
    return leaves[path]


def name_paths(paths: Sequence[Path]) -> list[str]:
    """h of one tensor, h and c of a pair, s_1, s_2, … of a longer tuple; else the keys of a dict."""
    if list(paths) == [()]:
        return ["h"]
    if list(paths) == [(0,), (1,)]:
        return ["h", "c"]
    numbered = all(len(path) == 1 and isinstance(path[0], int) for path in paths)
    return [f"s_{path[0] + 1}" if numbered else "_".join(map(str, path)) for path in paths]  # type: ignore[operator]


@dataclass(frozen=True)
class Layout:
    """Where the parts of a state are in its vector.

    Attributes:
        example: a structure of tuples, lists and dicts, whose leaves are the shapes of the parts.
        paths, shapes: of the parts, in the order of the structure.
    """

    example: Any
    paths: tuple[Path, ...]
    shapes: tuple[tuple[int, ...], ...]

    @classmethod
    def of(cls, state: Any, shape_of: Any) -> Layout:
        """That of a state; `shape_of` gives the shape of a leaf without its batch axis, or refuses it."""
        leaves = list_leaves(state)
        shapes = tuple(shape_of(leaf) for _, leaf in leaves)
        if not leaves or not all(shapes) or not all(map(prod, shapes)):
            raise ConfigurationError(f"state={format_value(state)}: must have at least one number for every sequence")
        return cls(state, tuple(path for path, _ in leaves), shapes)

    @property
    def sizes(self) -> list[int]:
        return [prod(shape) for shape in self.shapes]

    @property
    def size(self) -> int:
        return sum(self.sizes)

    @property
    def parts(self) -> dict[str, slice]:
        stops = np.cumsum(self.sizes).tolist()
        starts = [0, *stops[:-1]]
        return dict(zip(name_paths(self.paths), map(slice, starts, stops), strict=True))

    def unflatten(self, flat: Any, axes: tuple[int, ...]) -> Any:
        """The structure with tensors (*axes, *shape) from an array or tensor (*axes, S)."""
        parts = zip(self.paths, self.parts.values(), self.shapes, strict=True)
        return rebuild(self.example, {path: flat[..., part].reshape(*axes, *shape) for path, part, shape in parts})

    def describe(self, *axes: int) -> str:
        """The structure with its shapes behind some leading axes, for a message."""
        shapes = {path: (*axes, *shape) for path, shape in zip(self.paths, self.shapes, strict=True)}
        return describe_tree(self.example, shapes)

    def describe_sizes(self) -> str:
        """The structure with its sizes, as `state=` takes them."""
        shapes = [shape[0] if len(shape) == 1 else shape for shape in self.shapes]
        return describe_tree(self.example, dict(zip(self.paths, shapes, strict=True)))


def describe_tree(tree: Any, shapes: Mapping[Path, Any], path: Path = ()) -> str:
    """A structure in a few words: the shape of every leaf within tuples, lists and dicts."""
    if isinstance(tree, Mapping):
        named = [f"{key}: {describe_tree(part, shapes, (*path, str(key)))}" for key, part in tree.items()]
        return "{" + ", ".join(named) + "}"
    if isinstance(tree, tuple | list):
        return "(" + ", ".join(describe_tree(part, shapes, (*path, index)) for index, part in enumerate(tree)) + ")"
    return str(shapes[path])
