"""The code of docs/pytorch-jax.md, executed exactly as it is printed. Needs the extras `torch` and `jax`."""

import re

import numpy as np
import pytest

import bpttlab as lab
from bpttlab.cli import main
from tests.support.commandline import REPOSITORY
from tests.support.pages import commands_of, find_blocks, run_python

pytest.importorskip("torch")
pytest.importorskip("jax")

PAGE = (REPOSITORY / "docs" / "pytorch-jax.md").read_text(encoding="utf-8")
FILES = dict(re.findall(r"`(\w+\.py)`\n\n```python\n(.*?)```", PAGE, flags=re.DOTALL))
BLOCKS = [text for language, text in find_blocks(PAGE) if language in ("python", "python jax")]
BLOCKS = [text for text in BLOCKS if text not in FILES.values()]


def test_the_code_of_the_page_runs():
    names = run_python(BLOCKS, "docs/pytorch-jax.md")
    assert set(names["gradient"]) == {*dict(names["module"].named_parameters()), "h_0"}
    assert np.isfinite(names["terms"]["log_norm"]).any() and len(names["curve"])


def test_the_sweep_of_the_page_runs(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    for name, text in FILES.items():
        (tmp_path / name).write_text(text, encoding="utf-8")
    for command, *words in commands_of(PAGE):
        more = ["workers=0", "seed=0,1", "measure=minimal"] if command == "sweep" else []
        assert main([command, *words, *more]) == 0, capsys.readouterr().err
    runs = lab.load("mine").runs
    assert set(runs["cell"]) == {"highway"} and sorted(runs["cell_carry_bias"]) == [0.0, 0.0, 2.0, 2.0]
    assert runs["network_id"].nunique() == 4 and (runs["status"] == "done").all()
    rates = runs.groupby("cell_carry_bias")["growth_rate"].median()
    assert rates[2.0] > rates[0.0]  # a gate that is more open keeps more
