"""The recipes of docs/how-to.md run as they stand, in their order, and its links lead somewhere."""

import re
import shlex

import numpy as np
import pytest

import bpttlab as lab
from bpttlab.cli import main
from tests.support.commandline import REPOSITORY

PAGE = REPOSITORY / "docs" / "how-to.md"
TEXT = PAGE.read_text(encoding="utf-8")
QUICK = ["workers=0", "engine=numpy", "measure=minimal", "sequence_length=8", "batch_size=2", "cell.hidden_size=10"]


@pytest.mark.compiles
def test_the_code_of_the_page_runs(tmp_path, monkeypatch, quick_disk):
    monkeypatch.chdir(tmp_path)
    names = {"__name__": "how_to"}
    for block in re.findall(r"```python\n(.*?)```", TEXT, flags=re.DOTALL):
        exec(compile(block, str(PAGE), "exec"), names)
    lags = names["products"].groupby("sequence")["lag"].nunique()
    assert (lags == 51).all() and 1 <= names["enough"] <= 50
    assert np.isfinite(names["run"][["growth_rate", "lyapunov_exponent"]].astype(float)).all()
    gradient = lab.backward(names["trace"], names["loss"])
    np.testing.assert_allclose(names["each"]["W"].sum(axis=0), gradient["W"], rtol=1e-9, atol=1e-14)


@pytest.mark.parametrize("line", re.findall(r"```sh\n(.*?)\n```", TEXT, flags=re.DOTALL))
def test_the_sweeps_of_the_page_run(line, tmp_path, monkeypatch, quick_disk):
    monkeypatch.chdir(tmp_path)
    assert main([*shlex.split(line)[1:], *QUICK]) == 0


@pytest.mark.parametrize("link", sorted(set(re.findall(r"\]\(([^)]+)\)", TEXT))))
def test_the_links_of_the_page_lead_somewhere(link):
    page, _, anchor = link.partition("#")
    text = (PAGE.parent / page).read_text(encoding="utf-8")
    headings = re.findall(r"^#+ (.*)$", text, re.MULTILINE)
    assert not anchor or anchor in {anchor_of(heading) for heading in headings}


def anchor_of(heading):
    return re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-")
