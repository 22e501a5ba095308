"""The style of figures and their files: sizes for a paper, legible letters, colours for all kinds of colour vision.

The settings of a user (matplotlibrc, rcParams) change no figure: `style_context` begins with matplotlib's defaults.

Requested values have a diverging scale centred at 1: blue below, black at 1, orange to red above, darker further away.
The scale is ordinal, so that 0.9, 1 and 1.1 differ as clearly as 0.5 and 1.5.
"""

from __future__ import annotations

import io
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal, get_args

import seaborn as sns
from matplotlib import RcParams, font_manager, rc_params_from_file
from matplotlib import style as mpl_style
from matplotlib.colors import LinearSegmentedColormap, to_hex
from matplotlib.figure import Figure

from bpttlab.errors import ConfigurationError, nearest
from bpttlab.escapes import escape_line
from bpttlab.files import publish

Size = Literal["column", "page"]
WIDTHS = {"column": 3.4, "page": 7.0}  # inches
FORMATS = ("png", "svg", "pdf")

_BELOW = LinearSegmentedColormap.from_list("below", ["#56b4e9", "#0072b2", "#03305c"])  # near 1 ... far from it
ABOVE = LinearSegmentedColormap.from_list("above", ["#f0a03c", "#d55e00", "#7a1f05"])
CENTRE = "#111111"
NEUTRAL = "#6b6b6b"
CATEGORIES = ("#0072b2", "#d55e00", "#009e73", "#b0578d", "#a67c00", "#56b4e9", "#7a1f05", "#111111")
"""For what has no order (cells, parameters, parts of a state): by Okabe and Ito, the light ones darkened."""
MARKERS = ("o", "s", "^", "D", "P", "X")
DASHES = ("-", (0, (4, 1.5)), (0, (1.2, 1.2)), (0, (5, 1.2, 1.2, 1.2)))
GROWTH = LinearSegmentedColormap.from_list("growth", ["#03305c", "#0072b2", "#f4f4f2", "#d55e00", "#7a1f05"])


CURRENT = "current"
"""The name of a style that is the caller's own rcParams."""

_FILES = {"svg.hashsalt": "bpttlab"}
"""What every file has in every style: two equal drawings have the same bytes."""


@contextmanager
def style_context(size: Size = "page", own: str | None = None) -> Iterator[None]:
    """The house style, for drawing and for saving, on matplotlib's defaults; restores the former style.

    Args:
        own: a style of the user's on top of it, a file or a name of matplotlib's; "current": their rcParams alone.

    Raises:
        ConfigurationError: there is no such size or style, or the file cannot be read.
    """
    check_size(size)
    house = ["default", {**sns.axes_style("ticks"), **_settings()}]
    layers: list[Any] = [_FILES] if own == CURRENT else [*house, *_read_style(own), _FILES]
    with mpl_style.context(layers):
        yield


def _read_style(own: str | None) -> list[RcParams]:
    """The settings of a style file, or of a style of matplotlib's."""
    if own is None:
        return []
    path = Path(own).expanduser()
    if own in mpl_style.available:
        return [mpl_style.library[own]]
    if not path.is_file():
        known = [CURRENT, *mpl_style.available, *(str(one) for one in path.parent.glob("*.mplstyle"))]
        if path.suffix == ".mplstyle":
            raise ConfigurationError(f"style={own}: there is no such file.{nearest(own, known)}")
        raise ConfigurationError(
            f"style={own}: must be an .mplstyle file, a style of matplotlib or {CURRENT}.{nearest(own, known)}"
        )
    try:
        return [rc_params_from_file(path, use_default_template=False)]
    except (OSError, ValueError) as error:
        raise ConfigurationError(f"style={own}: cannot be read: {str(error).splitlines()[0]}") from error


def _settings() -> dict[Any, Any]:
    """Letters of at least 7 points at printed size; files contain nothing that differs between two equal drawings."""
    sizes = dict.fromkeys(("xtick.labelsize", "ytick.labelsize", "legend.fontsize", "legend.title_fontsize"), 7.0)
    return {
        **sizes,
        "font.family": ["DejaVu Sans"],
        "font.size": 7.5,
        "axes.titlesize": 8.0,
        "axes.labelsize": 7.5,
        "axes.linewidth": 0.6,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.edgecolor": "#333333",
        "xtick.major.size": 2.5,
        "ytick.major.size": 2.5,
        "xtick.major.width": 0.6,
        "ytick.major.width": 0.6,
        "xtick.minor.size": 1.5,
        "ytick.minor.size": 1.5,
        "xtick.minor.width": 0.4,
        "ytick.minor.width": 0.4,
        "lines.linewidth": 1.2,
        "lines.markersize": 3.5,
        "legend.frameon": False,
        "figure.dpi": 200,
        "savefig.dpi": 200,
        "figure.facecolor": "white",
        "svg.hashsalt": "bpttlab",
        "svg.fonttype": "path",
        "pdf.fonttype": 42,
        "axes.unicode_minus": True,
    }


def check_size(size: str) -> None:
    """Refuses an unknown size."""
    if size not in get_args(Size):
        known = " or ".join(get_args(Size))
        raise ConfigurationError(f"size={size}: must be {known}.{nearest(size, get_args(Size))}")


def colours(values: Sequence[float]) -> dict[float, str]:
    """A colour for each value on the diverging scale centred at 1; each side is spread over its own values."""
    below = sorted((value for value in values if value < 1), reverse=True)
    above = sorted(value for value in values if value > 1)
    sides = {value: to_hex(_BELOW(_place(below, value))) for value in below}
    sides |= {value: to_hex(ABOVE(_place(above, value))) for value in above}
    return {value: sides.get(value, CENTRE) for value in sorted(values)}


def _place(side: Sequence[float], value: float) -> float:
    return 0.5 if len(side) == 1 else side.index(value) / (len(side) - 1)


def sequence_colours(count: int) -> list[str]:
    """Colours for an ordered choice that has no centre (sequence lengths), light to dark."""
    return [to_hex(colour) for colour in sns.color_palette("viridis_r", n_colors=count + 2)[2:]]


def categories(names: Sequence[str]) -> dict[str, str]:
    """A colour for each of a few names, in their order; after the last colour the first again."""
    return {name: CATEGORIES[place % len(CATEGORIES)] for place, name in enumerate(names)}


def category_dashes(names: Sequence[str]) -> dict[str, Any]:
    """The dashes of each name beside its colour of `categories`: solid until the colours begin again."""
    return {name: DASHES[place // len(CATEGORIES) % len(DASHES)] for place, name in enumerate(names)}


def escape_text(text: str) -> str:
    """A text of any origin in a figure: a dollar sign begins no mathematics; what the font lacks is an escape."""
    known = _find_letters()
    shown = (one if ord(one) in known else one.encode("unicode_escape").decode() for one in escape_line(text))
    return "".join(shown).replace("$", r"\$")


def _find_letters() -> Mapping[int, int]:
    """The characters that the font of the present style has."""
    return font_manager.get_font(font_manager.findfont(font_manager.FontProperties())).get_charmap()


class Page(Figure):
    """A figure that a notebook shows by itself, as wide as it is on paper at 100 pixels an inch."""

    def _repr_png_(self) -> tuple[bytes, dict[str, float]]:
        return png_of(self), {"width": 100.0 * self.get_figwidth(), "height": 100.0 * self.get_figheight()}


def png_of(figure: Figure) -> bytes:
    """The figure as the bytes of a PNG file."""
    buffer = io.BytesIO()
    with style_context():
        figure.savefig(buffer, format="png", metadata={"Software": None})
    return buffer.getvalue()


def save_figure(
    figure: Figure, path: str | os.PathLike[str], format: str | None = None, own: str | None = None
) -> Path:
    """Write the figure to a file, whole or not at all; the folder is made. Equal figures give equal bytes.

    Args:
        path: the file; without .png, .svg or .pdf at its end, the format is added.
        format: png, svg or pdf; None: as the path says, otherwise png.
        own: the style that it was drawn with; see `style_context`.

    Raises:
        ConfigurationError: another format, or a path that ends in another one than `format`.
        StoreError: the file cannot be written.
    """
    stem, format = _split_format(os.fspath(path), format)
    undated = {"png": {"Software": None}, "svg": {"Date": None}, "pdf": {"CreationDate": None}}
    smallest: dict[str, Any] = {"pil_kwargs": {"optimize": True}} if format == "png" else {}
    data = io.BytesIO()
    with style_context(own=own):
        figure.savefig(data, format=format, metadata=undated[format], **smallest)
    return publish(Path(f"{stem}.{format}"), data.getvalue())


_OTHERS = ("bmp", "eps", "gif", "jpeg", "jpg", "pgf", "ps", "tif", "tiff", "webp")


def _split_format(path: str, format: str | None) -> tuple[str, str]:
    """The path without its format, and the format."""
    stem, ending = os.path.splitext(path)
    named = ending[1:].lower()
    chosen = format or (named if named in (*FORMATS, *_OTHERS) else "png")
    if chosen not in FORMATS:
        raise ConfigurationError(f"format={chosen}: must be png, svg or pdf.{nearest(chosen, FORMATS)}")
    if named in FORMATS and named != chosen:
        raise ConfigurationError(f"format={chosen}: the file {path} ends in .{named}; give one format")
    return (stem if named == chosen else path), chosen
