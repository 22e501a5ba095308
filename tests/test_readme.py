"""The examples of the README, and of the page about a network of one's own, run as they stand."""

import re
import shlex
from pathlib import Path

import pytest

from bpttlab.cli import main
from tests.support.state_dicts import bidirectional, save, state_dict

README = Path(__file__).resolve().parents[1] / "README.md"


@pytest.mark.compiles
def test_the_python_of_the_readme_runs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    blocks = re.findall(r"```python\n(.*?)```", README.read_text(encoding="utf-8"), flags=re.DOTALL)
    assert len(blocks) == 2
    exec(compile("\n".join(blocks), str(README), "exec"), {"__name__": "readme"})
    assert (tmp_path / "results" / "first").is_dir()


@pytest.mark.parametrize("link", re.findall(r"\]\(([^)#]+)\)", README.read_text(encoding="utf-8")))
def test_the_links_of_the_readme_lead_somewhere(link):
    assert (README.parent / link).exists()


OWN_NETWORK = README.parent / "docs" / "own-network.md"


@pytest.mark.slow
def test_the_examples_of_a_network_of_ones_own_run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name, seed in (("model", 0), ("a", 1), ("b", 2)):
        save(f"{name}.safetensors", state_dict("lstm", layers=2, seed=seed))
    save("both.safetensors", bidirectional())
    page = OWN_NETWORK.read_text(encoding="utf-8")
    (python,) = re.findall(r"```python\n(.*?)```", page, flags=re.DOTALL)
    exec(compile(python, str(OWN_NETWORK), "exec"), {"__name__": "own_network"})
    shell = re.findall(r"```sh\n(.*?)```", page, flags=re.DOTALL)
    for line in "".join(shell).splitlines():
        assert main([*shlex.split(line)[1:], *(["workers=0"] if " sweep " in line else [])]) == 0
    assert (tmp_path / "results" / "mine" / "figures" / "growth.png").is_file()


@pytest.mark.parametrize("link", re.findall(r"\]\(([^)#]+)\)", OWN_NETWORK.read_text(encoding="utf-8")))
def test_the_links_of_that_page_lead_somewhere(link):
    assert (OWN_NETWORK.parent / link).exists()


JACOBIANS = README.parent / "docs" / "jacobians.md"


def test_the_examples_of_given_jacobians_run_and_are_right():
    python = "\n".join(re.findall(r"```python\n(.*?)```", JACOBIANS.read_text(encoding="utf-8"), flags=re.DOTALL))
    assert "lorenz(20_000)" in python
    names = {"__name__": "jacobians"}
    exec(compile(python.replace("20_000", "4_000"), str(JACOBIANS), "exec"), names)
    exponents = names["spectrum"]["lyapunov_exponent"].to_numpy() / 0.01
    assert exponents == pytest.approx([0.906, 0.0, -14.572], abs=0.15)
    assert exponents.sum() == pytest.approx(-13.667, abs=1e-3)


@pytest.mark.parametrize("link", re.findall(r"\]\(([^)#]+)\)", JACOBIANS.read_text(encoding="utf-8")))
def test_the_links_of_the_page_of_jacobians_lead_somewhere(link):
    assert (JACOBIANS.parent / link).exists()
