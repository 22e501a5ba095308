"""The parts of docs/extending.md, executed exactly as they are printed."""

import re

import numpy as np
import pytest

import bpttlab as lab
from bpttlab import plugins
from bpttlab.cli import main
from bpttlab.errors import LabWarning
from tests.support.extending import FILES, LINES, PAGE, TEXT

PARTS = {
    "peephole.py": ["cell peephole"],
    "flip_flop.py": ["task flip_flop"],
    "rotations.py": ["initializer rotations"],
    "activity.py": ["measure activity", "table activity", "figure activity"],
}


@pytest.fixture
def written(tmp_path, monkeypatch):
    """A folder with every file of the page."""
    for name, text in FILES.items():
        (tmp_path / name).write_text(text, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_every_file_of_the_page_is_known_here():
    assert set(FILES) == {*PARTS, "check_peephole.py"}


@pytest.mark.parametrize(("name", "found"), PARTS.items())
def test_a_file_adds_what_the_page_says(written, name, found):
    with plugins.use(name) as choices:
        assert [f"{choice.kind} {choice.name}" for choice in choices] == found


def test_the_derivatives_of_the_cell_are_exact(written):
    exec(compile(FILES["check_peephole.py"], "check_peephole.py", "exec"), {"__name__": "check_peephole"})


def test_a_wrong_derivative_of_the_cell_is_found(written):
    wrong = FILES["peephole.py"].replace("dc = dc + k * dh + p_o * da_o", "dc = dc + k * dh")
    assert wrong != FILES["peephole.py"]
    (written / "peephole.py").write_text(wrong, encoding="utf-8")
    with pytest.raises(AssertionError, match="relative disagreement"):
        exec(compile(FILES["check_peephole.py"], "check_peephole.py", "exec"), {"__name__": "check_peephole"})


def test_the_task_asks_for_the_last_pulse(written):
    with plugins.use("flip_flop.py"):
        kind = plugins.find("task", "flip_flop")
    task = kind(sequence_length=400, bits=2)
    batch = task.sample(np.random.default_rng(0), 64)
    for t in (1, 50, 399):
        pulse = batch.x[t] != 0
        assert (batch.target[t][pulse] == batch.x[t][pulse]).all()
        assert (batch.target[t][~pulse] == batch.target[t - 1][~pulse]).all()
    assert (batch.target**2).sum(axis=-1).mean() == pytest.approx(task.baseline_loss, rel=0.01)
    shorter = kind(sequence_length=7, bits=2).sample(np.random.default_rng(0), 64)
    assert (shorter.x == batch.x[:7]).all() and (shorter.target == batch.target[:7]).all()


@pytest.mark.slow
def test_the_lines_of_the_page_run(written, capsys):
    for command, *words in LINES:
        more = ["workers=1", "seed=0,1", "engine=numpy"] if command == "sweep" else []
        assert main([command, *words, *more]) == 0, capsys.readouterr().err
    assert set(lab.load("own").runs["cell"]) == {"peephole", "lstm"}
    mine = lab.load("mine")
    assert set(mine.activity["t"]) == set(range(1, 41, 2))
    assert mine.activity["saturated"].between(0, 1).all() and mine.activity["rms"].gt(0).all()
    folder = written / "results" / "mine"
    assert (folder / "tables" / "activity.csv").is_file() and (folder / "figures" / "activity.png").is_file()


def test_results_need_no_file(written, capsys):
    line = next(words for command, *words in LINES if command == "sweep" and "study=mine" in words)
    assert main(["sweep", *line, "workers=0", "engine=numpy"]) == 0
    for name in FILES:
        (written / name).unlink()
    assert "rms" in lab.load("mine").activity
    assert main(["tables", "study=mine"]) == 0
    assert "activity" not in capsys.readouterr().out.split("plugins=")[0].split("results are in")[1]


def test_versions_and_settings_of_a_measure_are_points(written):
    def sweep(**more):
        activity = [{"activity": {"level": level}} for level in more.pop("levels", [0.9])]
        more |= {"sequence_length": 8, "engine": "numpy"}
        lab.sweep(study="two", plugins="activity.py", measure=activity, workers=0, **more)

    sweep(seed=range(2), levels=[0.5, 0.9])
    (written / "activity.py").write_text(FILES["activity.py"] + "# another version\n", encoding="utf-8")
    with pytest.warns(LabWarning, match="another version of activity.py"):
        sweep(seed=range(2))
    with plugins.use("activity.py"):
        study = lab.load("two")
        summary = lab.tables.summaries(study)["activity"]
        drawing = lab.figures.draw(study, names=["activity"])
    assert list(summary["networks"]) == [2, 2, 2]
    assert summary["plugins"].nunique() == 2 and set(summary["measure_activity_level"]) == {0.5, 0.9}
    legend = drawing["activity"].axes[0].get_legend().get_texts()
    assert len(legend) >= 3 and all("plugins=" in text.get_text() for text in legend)


@pytest.mark.parametrize("link", re.findall(r"\]\(([^)#]+)\)", TEXT))
def test_the_links_of_the_page_lead_somewhere(link):
    assert (PAGE.parent / link).exists()
