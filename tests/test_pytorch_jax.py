"""The code of docs/pytorch-jax.md, executed exactly as it is printed. Needs the extra `torch`."""

import re

import numpy as np
import pytest

from tests.support.commandline import REPOSITORY

pytest.importorskip("torch")

PAGE = (REPOSITORY / "docs" / "pytorch-jax.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```python\n(.*?)```", PAGE, flags=re.DOTALL)


def test_the_code_of_the_page_runs():
    names = {"__name__": "page"}
    for block in BLOCKS:
        exec(compile(block, "docs/pytorch-jax.md", "exec"), names)
    assert set(names["gradient"]) == {*dict(names["module"].named_parameters()), "h_0"}
    assert np.isfinite(names["terms"]["log_norm"]).any() and len(names["curve"])
