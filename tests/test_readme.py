"""The examples of the README, and of the page about a network of one's own, run as they stand."""

import re
from pathlib import Path

import pytest

from bpttlab.cli import main
from tests.support.pages import commands_of, python_of, run_python
from tests.support.state_dicts import bidirectional, save, state_dict

README = Path(__file__).resolve().parents[1] / "README.md"


@pytest.mark.compiles
def test_the_python_of_the_readme_runs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    blocks = python_of(README.read_text(encoding="utf-8"))
    assert len(blocks) == 2
    run_python(blocks, str(README))
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
    for seed in (0, 1):
        save(f"init_{seed}.npz", state_dict("lstm", seed=seed))
        save(f"trained_{seed}.npz", state_dict("lstm", seed=seed + 2))
    save("both.safetensors", bidirectional())
    page = OWN_NETWORK.read_text(encoding="utf-8")
    run_python(python_of(page), str(OWN_NETWORK))
    for words in commands_of(page):
        assert main([*words, *(["workers=0"] if words[0] == "sweep" else [])]) == 0
    assert (tmp_path / "results" / "mine" / "figures" / "growth.png").is_file()


@pytest.mark.parametrize("link", re.findall(r"\]\(([^)#]+)\)", OWN_NETWORK.read_text(encoding="utf-8")))
def test_the_links_of_that_page_lead_somewhere(link):
    assert (OWN_NETWORK.parent / link).exists()


JACOBIANS = README.parent / "docs" / "jacobians.md"


def test_the_examples_of_given_jacobians_run_and_are_right():
    python = "\n".join(python_of(JACOBIANS.read_text(encoding="utf-8")))
    assert "lorenz(20_000)" in python
    names = run_python([python.replace("20_000", "4_000")], str(JACOBIANS))
    exponents = names["spectrum"]["lyapunov_exponent"].to_numpy() / 0.01
    assert exponents == pytest.approx([0.906, 0.0, -14.572], abs=0.15)
    assert exponents.sum() == pytest.approx(-13.667, abs=1e-3)


@pytest.mark.parametrize("link", re.findall(r"\]\(([^)#]+)\)", JACOBIANS.read_text(encoding="utf-8")))
def test_the_links_of_the_page_of_jacobians_lead_somewhere(link):
    assert (JACOBIANS.parent / link).exists()
