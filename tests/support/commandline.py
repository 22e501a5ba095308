"""The command as tests use it: an empty folder, a folder with a small study, and processes of their own."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import argcomplete
import pytest

from bpttlab import resources
from bpttlab.cli import build_parser, commands_of, completion, main

REPOSITORY = resources.PACKAGE.parent
SMALL = ["workers=0", "sequence_length=8", "cell.hidden_size=4", "batch_size=2", "engine=numpy"]
"""Nothing is compiled for tests that do not ask about the engine."""


@pytest.fixture
def folder(tmp_path, monkeypatch, quick_disk) -> Path:
    """An empty current folder; nothing waits for its disk."""
    monkeypatch.chdir(tmp_path)
    for name in ("COLUMNS", "LINES"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path


@pytest.fixture(scope="session")
def studied(tmp_path_factory) -> Path:
    """A folder with a small study called first; not to be changed."""
    home, before = tmp_path_factory.mktemp("studied"), Path.cwd()
    os.chdir(home)
    try:
        line = ["sweep", "study=first", "spectral_radius=0.5,1.5", "seed=range(0,3)", "truncation=full,3", *SMALL]
        assert main(line) == 0
    finally:
        os.chdir(before)
    return home


def visible(folder) -> list[str]:
    """Everything in a folder, by its path from there."""
    return sorted(str(path.relative_to(folder)) for path in Path(folder).rglob("*"))


def complete(line) -> list[str]:
    """What the last word of a line may become; a line that ends in a space begins a new word."""
    _, word, _, words, _ = argcomplete.split_line(line)
    return completion.candidates(commands_of(build_parser()), words[1:], word)


def run(*words, cwd=None, **environment) -> subprocess.CompletedProcess[str]:
    """A process of its own, from the checkout."""
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY), **environment}
    return subprocess.run(words, cwd=cwd, env=environment, capture_output=True, text=True, timeout=120, check=False)


def bpttlab(*words, cwd=None, **environment) -> subprocess.CompletedProcess[str]:
    """The command in a process of its own."""
    return run(sys.executable, "-m", "bpttlab", *words, cwd=cwd, **environment)


def experiment_writer(folder):
    """Makes a folder for --config-dir; a function (name, text) that adds an experiment and returns that folder."""
    experiments = folder / "conf" / "experiment"
    experiments.mkdir(parents=True)

    def write(name, text):
        (experiments / f"{name}.yaml").write_text(f"# @package _global_\n{text}", encoding="utf-8")
        return str(folder / "conf")

    return write
