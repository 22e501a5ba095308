"""Blocks of Jacobian products against lag: the paths from one part of the state to another."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.artist import Artist
from matplotlib.figure import Figure

from bpttlab.errors import LabError
from bpttlab.figures import layout, lines, style
from bpttlab.figures.arrangement import BOARD, arrange, label_edges
from bpttlab.figures.figure import AUTOMATIC, Comparison
from bpttlab.figures.style import Size

_VALUES = ("block", "lag", "quantity", "median", "low", "high", "networks", "zero", "unresolved", "cell_path")
MOST_BLOCKS = 16
ARROW = "\N{LEFTWARDS ARROW}"


def plot_paths(
    curves: pd.DataFrame, size: Size = "page", comparison: Comparison = AUTOMATIC, left_out: Sequence[str] = ()
) -> Figure:
    """log spectral norm of each block of the products that end at t = T against lag, at a few requested values.

    The path of a part to itself is thick, with its quartiles; if there are more parts than colours, dashed, too. A path
    between two parts is thin: its colour is that of the part where it ends, its dashes those of the part where it
    starts. A curve ends where a block is too small to be resolved. Paths between parts that are zero at every lag are
    counted and not drawn. If there are too many paths to distinguish, none between two parts is drawn.

    curves: `tables.block_curves`. left_out: cells without blocks, because their state is one part; they are named.
    Raises LabError if no lag is above 0 or no requested value is known.
    """
    curves = curves[(curves["quantity"] == "spectral") & (curves["lag"] > 0) & curves["initializer_requested"].notna()]
    if curves.empty:
        raise LabError("the study has no blocks of products over at least one step")
    page = arrange(curves, _VALUES, comparison, size, **BOARD)
    curves = page.rows
    looks, too_many = _looks(curves)
    for axes, rows, _ in page.panels():
        axes.axhline(0.0, color=style.NEUTRAL, linewidth=0.5, zorder=0)
        for block, look in looks.items():
            lines.curve(axes, _one(rows, block), "lag", **look)
        lines.draw_theory(axes, rows, "cell_path", style.NEUTRAL, "--")
        lines.set_empty_limits(axes, rows["median"])
    layout.whole_numbers(page.grid)
    label_edges(page, [r"lag $\ell$ (steps)"], [r"$\log \Vert$block of $P\Vert_2$ (nat)"])
    page.add_footer([*_kinds(curves, looks, too_many), *_name_left_out(left_out)])
    return layout.finish(page.figure)


def _name_left_out(cells: Sequence[str]) -> list[Artist]:
    words = ", ".join(style.escape_text(cell.replace("_", " ")) for cell in cells)
    return [lines.line_key(f"without blocks: {words}", linestyle="none")] if cells else []


def ends(block: str) -> tuple[str, str]:
    """The end and the start of a path: "c<-h" is ("c", "h")."""
    to, _, of = block.partition("<-")
    return to, of


def _one(rows: pd.DataFrame, block: str) -> pd.DataFrame:
    """A block's rows; only paths of a part to itself have a band."""
    own = rows[rows["block"] == block]
    return own if len(set(ends(block))) == 1 else own.assign(networks=1)


def _looks(curves: pd.DataFrame) -> tuple[dict[str, dict[str, Any]], int]:
    """The look of each block, and the number of blocks that are left out because there are too many."""
    blocks = sorted(curves["block"].unique(), key=lambda block: (len(set(ends(block))), block))
    names = sorted({end for block in blocks for end in ends(block)})
    alive = set(curves.loc[~np.isneginf(curves["median"].astype(float)), "block"])
    own = [block for block in blocks if len(set(ends(block))) == 1]
    cross = [block for block in blocks if block not in own and block in alive]
    few = len(own) + len(cross) <= MOST_BLOCKS and len(names) <= len(style.CATEGORIES)
    shown = own + cross if few else own
    return {block: _look(block, names) for block in shown}, len(own) + len(cross) - len(shown)


def _look(block: str, names: list[str]) -> dict[str, Any]:
    (to, of), shades = ends(block), style.categories(names)
    if to == of:
        return {"colour": shades[to], "linewidth": 1.6, "linestyle": style.category_dashes(names)[to]}
    return {"colour": shades[to], "linewidth": 0.7, "linestyle": style.DASHES[names.index(of) % len(style.DASHES)]}


def _kinds(curves: pd.DataFrame, looks: dict[str, dict[str, Any]], left_out: int) -> list[Artist]:
    keys: list[Artist] = []
    for block, look in looks.items():
        to, of = ends(block)
        rest = {name: value for name, value in look.items() if name != "colour"}
        keys.append(lines.line_key(f"{to}{ARROW}{of}", color=look["colour"], **rest))
    keys += lines.band_keys(curves)
    zero = curves["block"].nunique() - len(looks) - left_out
    if zero:
        keys.append(lines.line_key(f"{zero} more exactly zero", **lines.ZERO_KEY))
    if left_out:
        keys.append(lines.line_key(f"{left_out} between parts not drawn", linestyle="none"))
    if lines.has_values(curves["cell_path"]):
        keys.append(lines.line_key(r"cell path $f^{\,\ell}$", linestyle="--", linewidth=0.8))
    return [*keys, *lines.zero_key(curves[curves["block"].isin(list(looks))])]
