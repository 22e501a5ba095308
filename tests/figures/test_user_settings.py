"""No setting of a user's matplotlib changes a figure, and no backend keeps one from being drawn."""

import sys

import matplotlib as mpl
import pytest

from bpttlab import figures, tables
from bpttlab.figures import style
from bpttlab.figures.growth import plot_growth
from bpttlab.figures.products import plot_products
from tests.support import synthetic
from tests.support.commandline import run

STRANGE = {
    "axes.grid": True,
    "axes.prop_cycle": mpl.cycler("color", ["red"]),
    "axes.xmargin": 0.4,
    "figure.constrained_layout.w_pad": 0.5,
    "font.family": ["serif"],
    "font.serif": ["No Such Font"],
    "image.cmap": "jet",
    "lines.antialiased": False,
    "mathtext.fontset": "cm",
    "path.sketch": (1.0, 100.0, 2.0),
    "savefig.bbox": "tight",
    "savefig.facecolor": "red",
    "savefig.transparent": True,
    "text.usetex": True,
    "xtick.direction": "in",
    "ytick.right": True,
}
PROGRAM = """
from bpttlab import figures, user_environment
user_environment.import_matplotlib()
from matplotlib import pyplot
print(figures.save(pyplot.figure(), "plain"))
"""


def drawn_bytes(folder):
    """The files of two figures, one of lines and one of a heat map."""
    study = synthetic.study(seeds=2, radii=(0.9, 1.5), lengths=(10,))
    with style.style_context("column"):
        products = plot_products(tables.growth_curves(study.jacobians, study.runs), "column")
        growth = plot_growth(tables.growth(study.runs), "column")
    return [figures.save(figure, folder / "one").read_bytes() for figure in (products, growth)]


@pytest.mark.slow
def test_settings_of_the_caller_change_no_byte_and_stay(tmp_path):
    plain = drawn_bytes(tmp_path / "plain")
    with mpl.rc_context(STRANGE):
        assert drawn_bytes(tmp_path / "strange") == plain
        assert {name: mpl.rcParams[name] for name in STRANGE} == STRANGE


@pytest.mark.slow
def test_a_backend_that_is_not_installed_is_left_out(tmp_path):
    done = run(sys.executable, "-c", PROGRAM, cwd=tmp_path, MPLBACKEND="module://not_installed.backend_inline")
    assert (done.returncode, done.stdout) == (0, "plain.png\n"), done.stderr


def test_a_broken_matplotlibrc_is_one_error(tmp_path):
    (tmp_path / "matplotlibrc").write_bytes(b"font.family: \xff\n")
    program = "from bpttlab import figures, errors\ntry: figures.save(None, 'x')\nexcept errors.LabError as e: print(e)"
    done = run(sys.executable, "-c", program, cwd=tmp_path)
    assert done.stdout.count("\n") == 1
    assert "UnicodeDecodeError" in done.stdout
    assert "matplotlibrc" in done.stdout
