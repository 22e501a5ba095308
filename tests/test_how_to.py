"""The recipes of docs/how-to.md run as they stand, in their order, and its links lead somewhere."""

import re

import numpy as np
import pytest

import bpttlab as lab
from bpttlab.cli import main
from tests.support.commandline import REPOSITORY
from tests.support.pages import commands_of, python_of, run_python
from tests.support.state_dicts import save, state_dict

PAGE = REPOSITORY / "docs" / "how-to.md"
TEXT = PAGE.read_text(encoding="utf-8")
QUICK = ["workers=0", "engine=numpy", "measure=minimal", "sequence_length=8", "batch_size=2"]


@pytest.fixture(autouse=True)
def files_of_networks(tmp_path, monkeypatch):
    """Those that the recipe of files before and after training names."""
    monkeypatch.chdir(tmp_path)
    for seed in range(6):
        weights = state_dict("lstm", N=10, seed=seed)
        save(f"init_{seed}.npz", weights)
        save(f"trained_{seed}.npz", {name: 1.5 * value for name, value in weights.items()})


@pytest.mark.compiles
def test_the_code_of_the_page_runs(quick_disk):
    names = run_python(python_of(TEXT), str(PAGE))
    lags = names["products"].groupby("sequence")["lag"].nunique()
    assert (lags == 51).all() and 1 <= names["enough"] <= 50
    assert np.isfinite(names["run"][["growth_rate", "lyapunov_exponent"]].astype(float)).all()
    assert names["change"]["networks"].tolist() == [6] * len(names["change"])
    assert names["change"].loc["rho", "before"] * 1.5 == pytest.approx(names["change"].loc["rho", "after"])
    gradient = lab.backward(names["trace"], names["loss"])
    np.testing.assert_allclose(names["each"]["W"].sum(axis=0), gradient["W"], rtol=1e-9, atol=1e-14)


@pytest.mark.parametrize("words", commands_of(TEXT), ids=" ".join)
def test_the_sweeps_of_the_page_run(words, quick_disk):
    size = [] if "cell=from_file" in words else ["cell.hidden_size=10"]
    assert main([*words, *QUICK, *size]) == 0


@pytest.mark.parametrize("link", sorted(set(re.findall(r"\]\(([^)]+)\)", TEXT))))
def test_the_links_of_the_page_lead_somewhere(link):
    page, _, anchor = link.partition("#")
    text = (PAGE.parent / page).read_text(encoding="utf-8")
    headings = re.findall(r"^#+ (.*)$", text, re.MULTILINE)
    assert not anchor or anchor in {anchor_of(heading) for heading in headings}


def anchor_of(heading):
    return re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-")
