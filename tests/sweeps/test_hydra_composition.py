"""Override lines: expanded as Hydra would, at a fraction of its time, and refused in one line."""

import json
import sys
from dataclasses import fields
from pathlib import Path

import hydra
import numpy as np
import pytest
import yaml
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.types import RunMode
from hypothesis import HealthCheck, given
from hypothesis import strategies as st
from omegaconf import OmegaConf

from bpttlab import resources
from bpttlab.errors import ConfigurationError
from bpttlab.measures.selection import settings
from bpttlab.store.columns import FROM
from bpttlab.store.store import load
from bpttlab.sweeps import hydra_composition
from bpttlab.sweeps.configuration import GROUPS, TRAINING_GROUPS, Configuration, Values
from bpttlab.sweeps.scheduler import OPTIONS, separate
from tests.support.commandline import SMALL, experiment_writer, run
from tests.support.composition import fresh_composer
from tests.support.examples import examples


@pytest.fixture(scope="module")
def composer():
    return fresh_composer()


def as_set(runs):
    return sorted(json.dumps(run, sort_keys=True) for run in runs)


def by_hydra(composer, lines):
    """What Hydra's own sweeper and launcher would compose, one run at a time; the oracle.

    Ranges of floats are written out: Hydra adds the binary values of floats, this lab counts in decimal (`ranges`).
    """
    lines = [WRITTEN_OUT.get(line, line) for line in lines]
    from hydra._internal.core_plugins.basic_sweeper import BasicSweeper  # Hydra loads it anew when it looks for plugins

    groups = [line for line in lines if "experiment=" in line]
    master = composer.loader.load_configuration("config", overrides=groups, run_mode=RunMode.MULTIRUN)
    sweeper = BasicSweeper(max_batch_size=None, params=master.hydra.sweeper.params)
    parser = OverridesParser.create(config_loader=composer.loader)
    (batch,) = sweeper.split_arguments(parser.parse_overrides([*sweeper._parse_config(), *lines]), None)
    runs = []
    for job in batch:
        config = composer.loader.load_configuration("config", overrides=list(job), run_mode=RunMode.RUN)
        run = OmegaConf.to_container(config, resolve=False)
        run.pop("hydra")
        runs.append(OmegaConf.to_container(OmegaConf.create(run), resolve=True))
    return runs


# ------------------------------------------------------------------ equal to Hydra's own composition

WRITTEN_OUT = {
    "spectral_radius=range(0.5,0.8,0.1)": "spectral_radius=0.5,0.6,0.7",
    "spectral_radius=range(1,0,-2.5e-1)": "spectral_radius=1.0,0.75,0.5,0.25",
}
LINES = (
    ["seed=3", "seed=1,2", "seed=range(0,3)", "seed=range(4,0,-2)", "seed=choice(5,7)"],
    ["spectral_radius=0.5,1.5", "spectral_radius=1e-3", *WRITTEN_OUT, "spectral_radius=null"],
    ["truncation=full,5", "truncation=20"],
    ["task=noise,adding", "task=digits_rows", "task=glob(*,exclude=digits*)", "task={name:noise,input_size:3}"],
    ["cell.hidden_size=4,5", "cell.activation='relu',tanh", 'cell={hidden_size:7,activation:"relu"}'],
    ["scheme=chunked,windowed", "scheme=full"],
    ["+task.density=0.1,0.2", "++cell.extra=[1,2]", "~cell.activation", "+more={a:1,b:[x,y]}"],
    ["dtype=float32,'float64'", "dtype=inf", "dtype=true,null", "dtype='a, b',\"c\"", "dtype=a b"],
    ["batch_size=${seed}", "scales.x=${scales.V},2.5", "scales.x=1"],
    ["measure=minimal", "measure.max_lag=10,null"],
)


@examples(6, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_the_expansion_equals_hydras_own(composer, data):
    kinds = data.draw(st.lists(st.integers(0, len(LINES) - 1), max_size=3, unique=True))
    lines = [data.draw(st.sampled_from(LINES[kind])) for kind in sorted(kinds)]
    assert as_set(composer.expand(lines)) == as_set(by_hydra(composer, lines))


def test_experiment_equals_hydra_and_command_line_wins(composer):
    lines = ["seed=1,2", "sequence_length=10", "task=adding,noise", "spectral_radius=1", "batch_size=3"]
    lines = ["experiment=vanishing_exploding", *lines]
    runs = composer.expand(lines)
    assert as_set(runs) == as_set(by_hydra(composer, lines))
    assert {(run["seed"], run["task"]["name"]) for run in runs} == {(s, t) for s in (1, 2) for t in ("adding", "noise")}
    assert {"full", 5, 20} <= {run["truncation"] for run in runs}  # from the experiment
    assert {run["batch_size"] for run in runs} == {3}


@pytest.mark.parametrize("lines", [["seed=1,2", "seed=4"], ["task=noise", "+task=adding"], ["seed=1", "seed=1"]])
def test_two_lines_with_one_key_are_refused(composer, lines):
    key = lines[0].partition("=")[0]
    with pytest.raises(ConfigurationError, match=f"^{key} is given twice"):
        composer.expand(lines)


def test_ten_thousand_runs_cost_one_composition(monkeypatch):
    composer, loads = fresh_composer(), []
    load = composer.load
    monkeypatch.setattr(composer, "load", lambda choice: loads.append(choice) or load(choice))
    runs = composer.expand(["seed=range(0,5000)", "spectral_radius=0.5,1"])
    assert (len(runs), len(loads)) == (10_000, 1)
    composer.expand(["task=noise,adding", "seed=range(0,100)"])
    assert len(loads) == 3


GROUPS_SWEPT = ["cell=elman,gru,lstm", "task=noise,adding", "scheme=full,per_loss"]


def loads_of(composer, monkeypatch):
    """The choices that Hydra composes."""
    loads, load = [], composer.load
    monkeypatch.setattr(composer, "load", lambda choice: loads.append(choice) or load(choice))
    return loads


def test_independent_groups_are_composed_one_by_one(composer, monkeypatch):
    fresh = fresh_composer()
    loads = loads_of(fresh, monkeypatch)
    runs = fresh.expand([*GROUPS_SWEPT, "seed=2", "~cell.output_activation"])
    assert len(loads) == 1 + 1 + 2 + 1 + 1  # what is not swept, the first choice, the others of each group
    assert len(runs) == 12
    expected = by_hydra(composer, [*GROUPS_SWEPT, "seed=2", "~cell.output_activation"])
    assert as_set(runs) == as_set(expected)


DEPENDENT = {
    "a file that writes into another group": {"scheme/loud.yaml": "# @package _global_\nscale: 3\nmeasure: {lags: 5}"},
    "a file that brings one of another group": {
        "scheme/loud.yaml": "defaults:\n  - full\n  - /extra@_global_.cell: more\n",
        "extra/more.yaml": "hidden_size: 32\n",  # what it would be anyway
    },
    "a file that brings one of its own": {"scheme/loud.yaml": "defaults:\n  - chunked\noffset: 1\n"},
    "a file for two choices together": {
        "scheme/loud.yaml": "defaults:\n  - full\n  - optional /extra@_global_.scheme: ${measure}\n",
        "extra/minimal.yaml": "k1: 99\n",
    },
    "an interpolation": {"scheme/loud.yaml": "name: full\nk1: ${batch_size}\n"},
    "nothing that is of a group": {"scheme/loud.yaml": "name: full\n"},
}
RARE = (
    "a file that writes into another group",
    "a file that brings one of another group",
    "a file that brings one of its own",
    "an interpolation",
    "nothing that is of a group",
)
WHEN = {name: [pytest.mark.slow] if name in RARE else [] for name in DEPENDENT}


@pytest.mark.parametrize("step", [pytest.param(1, marks=pytest.mark.slow), -1], ids=["as written", "backwards"])
@pytest.mark.parametrize("files", [pytest.param(DEPENDENT[name], id=name, marks=marks) for name, marks in WHEN.items()])
def test_dependent_groups_equal_hydras_composition(files, step, tmp_path):
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    lines = ["cell=gru,elman", "measure=standard,minimal", "scheme=per_loss,loud"]
    expected = as_set(by_hydra(hydra_composition.Composer(loader_with(tmp_path)), lines))
    own = hydra_composition.Composer(loader_with(tmp_path))
    assert as_set(own.expand(lines[::step])) == expected


def loader_with(folder):
    """A loader as the option --config-dir makes it."""
    from hydra._internal.config_loader_impl import ConfigLoaderImpl

    path = fresh_composer().loader.get_search_path()
    path.prepend("command-line", f"file://{folder}", anchor="schema")
    return ConfigLoaderImpl(path)


def test_groups_are_taken_apart_where_other_folders_are_searched(tmp_path, monkeypatch):
    lines = ["cell=gru,elman", "task=noise,adding"]
    for own in (
        fresh_composer(lines=[f"hydra.searchpath=['file://{tmp_path}']"]),
        fresh_composer(str(tmp_path)),  # --config-dir
    ):
        loads = loads_of(own, monkeypatch)
        own.expand(lines)
        assert len(loads) == 1 + 3  # not 1 + 4: their files are looked into


def test_runs_share_no_dictionary(composer):
    one, other = composer.expand(["seed=0,1"])
    one["cell"]["hidden_size"] = one["scales"]["V"] = -1
    assert other["cell"]["hidden_size"] == 32
    assert other["scales"]["V"] == 1.0
    assert composer.expand(["seed=2"])[0]["cell"]["hidden_size"] == 32


# ------------------------------------------------------------------ experiments of one's own


@pytest.fixture
def own(tmp_path):
    """A folder for --config-dir with experiments; `write(name, text)` adds one."""
    return experiment_writer(tmp_path)


def expanded(folder, *lines):
    return fresh_composer(folder).expand(lines)


def test_each_of_two_swept_experiments_brings_its_own_sweep(own):
    own("a", "hydra:\n  sweeper:\n    params:\n      seed: 1,2\n      truncation: 7\n")
    folder = own("b", "hydra:\n  sweeper:\n    params:\n      task: noise,adding\n      spectral_radius: 0.5\n")
    runs = expanded(folder, "experiment=a,b", "batch_size=1,2")
    assert len(runs) == 2 * 2 + 2 * 2
    assert [(run["seed"], run["truncation"]) for run in runs[:4]] == [(1, 7), (1, 7), (2, 7), (2, 7)]
    assert [(run["task"]["name"], run["spectral_radius"]) for run in runs[4::2]] == [("noise", 0.5), ("adding", 0.5)]


def test_an_experiment_sets_groups_values_and_interpolations(own):
    folder = own(
        "tied",
        "defaults:\n  - override /task: adding\nbatch_size: ${cell.hidden_size}\ncell:\n  hidden_size: 5\n"
        "hydra:\n  sweeper:\n    params:\n      seed: range(0,2)\n      dtype: null\n      sequence_length: 12\n",
    )
    runs = expanded(folder, "experiment=tied", "cell.hidden_size=6,7")
    assert [run["batch_size"] for run in runs] == [6, 7, 6, 7]
    assert {(run["task"]["name"], run["dtype"], run["sequence_length"]) for run in runs} == {("adding", None, 12)}


def test_launcher_in_a_swept_experiment_is_refused(own):
    own("plain", "seed: 1\n")
    folder = own("far", "hydra:\n  launcher:\n    partition: long\n")
    with pytest.raises(ConfigurationError, match=r"experiment=far: sets hydra/launcher .* on the command line"):
        expanded(folder, "experiment=plain,far")
    assert len(expanded(folder, "experiment=far")) == 1  # Hydra itself heeds this one


def test_launcher_chosen_by_an_experiment_is_refused(own):
    folder = own("far", "defaults:\n  - override /hydra/launcher: basic\n")
    with pytest.raises(ConfigurationError, match=r"far.yaml: 'override /hydra/launcher' has no effect"):
        expanded(folder, "experiment=far")


def test_sweep_inside_a_swept_group_is_refused(own):
    folder = own("outer", "hydra:\n  sweeper:\n    params:\n      +more: inner\n")
    (Path(folder) / "more").mkdir()
    inner = "# @package _global_\nhydra:\n  sweeper:\n    params:\n      seed: 1,2\n"
    (Path(folder) / "more" / "inner.yaml").write_text(inner, encoding="utf-8")
    with pytest.raises(ConfigurationError, match=r"\+more=inner .* brings hydra.sweeper.params .* would be left out"):
        expanded(folder, "experiment=outer")


def test_broken_files_are_one_line(own):
    for name, text in {"syntax": "a: [1\n", "nowhere": "defaults:\n  - override /task: nois\n"}.items():
        folder = own(name, text)
        with pytest.raises(ConfigurationError) as caught:
            expanded(folder, f"experiment={name}")
        assert "\n" not in str(caught.value)
        assert str(caught.value).startswith((f"experiment={name}: ", f"{folder}/experiment/{name}.yaml, line "))


# ------------------------------------------------------------------ bad lines


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        (["tsk=noise"], r"tsk: .* Did you mean 'task'\?"),
        (["task=nois"], r"task=nois: must be one of .*noise, .* Did you mean 'noise'\?"),
        (["task=noise,addin"], r"task=addin: .* Did you mean 'adding'\?"),
        (["task=noise,null"], "task=None: must be one of"),
        (["task=glob(q*)"], "holds no value"),
        (["task@elsewhere=noise"], "task@elsewhere"),
        (["spectralradius=1,2"], r"Did you mean 'spectral_radius'\?"),
        (["hidden_size=3"], r"Did you mean 'cell.hidden_size'\?"),
        (["cell.path=a.npz"], r"cell.path: belongs to cell=from_file, and not to cell 'elman': add cell=from_file"),
        (["task.delay=10"], r"task.delay: belongs to task=.*, and not to task 'noise': add task="),
        (["cell.hidden_sizes=3"], r"cell 'elman' has only .* Did you mean 'hidden_size'\?"),
        (["task=noise,adding", "task.input_size=2"], "task.input_size: task 'adding' has no fields"),
        (["seed.more=3"], "seed.more"),
        (["seed=range(0,3"], r"cannot read 'seed=range\(0,3'"),
        (["seed=range(a,b)"], "cannot read"),
        (["seed=range(0,3,0)"], "must not be zero"),
        (["seed=range(3,3)"], "holds no value at all: the end 3 is excluded"),
        (["spectral_radius=range(0.1,1,-0.1)"], "holds no value at all: .* no step of -0.1 leads there from 0.1"),
        (["spectral_radius=range(0,1,0.0)"], "must not be zero"),
        (["spectral_radius=range(0,inf,1)"], "must be finite numbers"),
        (["seed=range(0,true)"], "must be finite numbers"),
        (["seed=range(0,1e12)"], "asks for 1000000000000 runs; a sweep may have at most 1000000"),
        (["seed=range(0,5000)", "truncation=1,2", "spectral_radius=range(0,1,1e-4)"], "asks for 100000000 runs"),
        (["seed=interval(0,1)"], "an interval has no list of values"),
        (["seed"], "cannot read 'seed' as key=value"),
        (["=3"], "the key is missing"),
        (["~nothing"], "~nothing"),
        (["seed=${sed}"], "sed"),
        (["experiment=vanishing"], r"Did you mean 'vanishing_exploding'\?"),
        (["hydra.verbose=true,false"], "cannot be swept"),
    ],
)
def test_a_bad_line_is_one_line_that_names_it(composer, lines, said):
    with pytest.raises(ConfigurationError, match=said) as caught:
        composer.expand(lines)
    assert "\n" not in str(caught.value)


def test_sweep_values_in_a_file_are_read_as_by_hydra():
    values = [None, True, False, 1, 0, 1.0, "a,b", "range(0,3)"]
    assert list(map(hydra_composition.as_written, values)) == [
        "null",
        "true",
        "false",
        "1",
        "0",
        "1.0",
        "a,b",
        "range(0,3)",
    ]


# ------------------------------------------------------------------ Hydra's own settings


def test_composing_leaves_no_file_and_restores_hydra(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with hydra.initialize_config_dir(str(resources.conf()), version_base="1.3"):
        before = GlobalHydra.instance().hydra
        lines = ["study=x", "seed=1,2", "task=noise,adding", "hydra.verbose=true"]
        runs = list(fresh_composer(None, lines).compose_line(lines))
        assert GlobalHydra.instance().hydra is before
    assert [(run["task"]["name"], run["seed"]) for run in runs] == [
        ("noise", 1),
        ("noise", 2),
        ("adding", 1),
        ("adding", 2),
    ]
    assert list(tmp_path.iterdir()) == []


OF_HYDRA = {
    "hydra/sweeper=basic": "hydra/sweeper: .*BasicSweeper cannot run a study",
    "hydra/launcher=basic": "hydra/launcher: .*BasicLauncher cannot run a study",
    "hydra/launcher=slurm": "slurm.* Available options .* basic bpttlab",
    "hydra.mode=RUN": "every command line of bpttlab is a sweep",
    "hydra.nothing=1": "hydra.nothing",
    "hydra.searchpath=[file://x]": "give one of them",
}


@pytest.mark.parametrize("line", OF_HYDRA)
def test_settings_of_hydra_that_cannot_hold_are_refused(tmp_path, line):
    lines = ["study=x", line, "seed=1,2"]
    with pytest.raises(ConfigurationError, match=OF_HYDRA[line]) as caught:
        list(fresh_composer(str(tmp_path), lines).compose_line(lines))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("part", "package", "shown"),
    [
        ("job", None, lambda config: {"cell", "seed"} <= set(config) and "hydra" not in config),
        pytest.param("hydra", None, lambda config: set(config) == {"hydra"}, marks=pytest.mark.slow),
        ("all", None, lambda config: {"hydra", "cell"} <= set(config)),
        ("job", "cell", lambda config: config["hidden_size"] == 7),
        pytest.param("job", "scales.V", lambda config: config == 1.0, marks=pytest.mark.slow),
        pytest.param("job", "_global_", lambda config: config["batch_size"] == "${seed}", marks=pytest.mark.slow),
    ],
)
def test_a_configuration_or_a_part_of_it_is_shown_as_yaml(composer, part, package, shown):
    lines = ["cell.hidden_size=7", "batch_size=${seed}", "seed=3"]
    assert shown(yaml.safe_load(composer.as_yaml(lines, part, package)))
    assert yaml.safe_load(composer.as_yaml(lines, "job", resolve=True))["batch_size"] == 3
    with pytest.raises(ConfigurationError, match="--package nowhere: the configuration has no such key"):
        composer.as_yaml(lines, part, "nowhere")


# ------------------------------------------------------------------ the plugins, from a hydra.main of one's own

SCRIPT = """
import hydra
from bpttlab import resources
from bpttlab.sweeps.plan import plan, separate
from bpttlab.sweeps.scheduler import carry_out

@hydra.main(version_base="1.3", config_path=str(resources.conf()), config_name="config")
def main(runs):
    options, configurations = separate(runs)
    print(len(carry_out(plan(configurations, options), options, progress=False).plan.to_do))

main()
"""


@pytest.fixture
def script(tmp_path):
    """Runs a script that hydra.main calls with the runs of a sweep."""
    (tmp_path / "mine.py").write_text(SCRIPT, encoding="utf-8")
    return lambda *lines: run(sys.executable, "mine.py", "study=x", *lines, *SMALL, cwd=tmp_path)


@pytest.mark.slow
def test_a_hydra_script_receives_all_runs_at_once(script, tmp_path):
    done = script("seed=1,2", "task=noise,adding")
    assert (done.returncode, done.stdout) == (0, "4\n"), done.stderr
    assert len(load("x", tmp_path / "results").runs) == 4
    assert {path.name for path in tmp_path.iterdir()} == {"mine.py", "results"}


@pytest.mark.parametrize("line", ["hydra/sweeper=basic", pytest.param("hydra/launcher=basic", marks=pytest.mark.slow)])
def test_a_hydra_script_refuses_another_sweeper_or_launcher(script, tmp_path, line):
    done = script(line, "seed=1,2")
    assert done.returncode != 0
    assert "cannot run a study" in done.stderr
    assert {path.name for path in tmp_path.iterdir()} == {"mine.py"}


# ------------------------------------------------------------------ the files in conf/


def test_the_defaults_are_those_of_the_typed_configuration(composer):
    (run,) = composer.expand([])
    assert set(run) == {*OPTIONS, *(field.name for field in fields(Values)), FROM, *GROUPS}
    plain = {name: value for name, value in run.items() if name not in OPTIONS}
    typed = Configuration.parse(plain).plain
    for name in ("seed", "sequence_length", "batch_size", "truncation", "measure", "scales"):
        assert typed[name] == plain[name]
    assert typed["spectral_radius"] == 1.0


@pytest.mark.slow  # two or more of each group of values: test_fields, test_choice_of_conf_is_the_same_in_python
@pytest.mark.parametrize("groups", ["of values", "experiment"])
def test_every_choice_of_every_group_is_a_configuration(composer, tmp_path, groups):
    np.savez(tmp_path / "mine.npz", x=np.zeros((8, 64, 2)), target=np.zeros((8, 64, 1)))
    np.save(tmp_path / "W.npy", np.eye(32))
    np.savez(tmp_path / "net.npz", weight_ih_l0=np.ones((9, 4)), weight_hh_l0=np.ones((9, 3)))
    more = {
        ("task", "file"): [f"task.path={tmp_path / 'mine.npz'}"],
        ("cell", "from_file"): [f"cell.path={tmp_path / 'net.npz'}"],
        ("initializer", "none"): ["cell=diagonal"],
        ("initializer", "from_file"): [f"initializer.path={tmp_path / 'W.npy'}"],
        ("scheme", "rflo"): ["cell=leaky"],
    }
    for group in composer.groups():
        trained = ["training=standard"] if group in TRAINING_GROUPS[1:] else []
        for choice in composer.options(group) if (group == "experiment") == (groups == "experiment") else ():
            own = [] if group == "experiment" else ["sequence_length=64", "truncation=4"]
            lines = [f"{group}={choice}", "study=x", *own, *trained, *more.get((group, choice), [])]
            runs = composer.expand(lines)
            _, configurations = separate(runs[:: max(1, len(runs) // 20)])
            assert all(Configuration.parse(configuration) for configuration in configurations)


def test_every_measure_names_every_field():
    for path in sorted(Path(resources.conf(), "measure").glob("*.yaml")):
        assert set(yaml.safe_load(path.read_text(encoding="utf-8"))) == set(settings()), path
