"""W from a user's file: every format, scaled or as it is, identified by its content; faults in one line."""

import shutil

import numpy as np
import pytest
from scipy import sparse

import bpttlab as lab
from bpttlab import tables
from bpttlab.cli import main
from bpttlab.errors import ConfigurationError, LabError, NonFiniteError
from bpttlab.networks.initializers import MatrixFile
from bpttlab.numerics import matrices
from bpttlab.sweeps.configuration import Configuration
from tests.support.commandline import SMALL, folder  # noqa: F401  # a fixture
from tests.support.state_dicts import save

pytestmark = [pytest.mark.usefixtures("quick_disk", "folder")]
W = np.random.default_rng(0).standard_normal((4, 4))
W[0, 1] = 0.0


def draw(path, size=4, **fields):
    return MatrixFile(str(path), **fields).sample(np.random.default_rng(0), size)


def save_csv(path):
    np.savetxt(path, W, delimiter=",", fmt="%.17g")


FORMATS = {
    "W.npy": lambda path: np.save(path, W),
    "W.npz": lambda path: np.savez(path, anything=W),
    "W.safetensors": lambda path: save(path, {"W": W}),
    "W.csv": save_csv,
    "csr.npz": lambda path: sparse.save_npz(path, sparse.csr_array(W)),
    "csc.npz": lambda path: sparse.save_npz(path, sparse.csc_array(W)),
}


@pytest.mark.parametrize("name", FORMATS)
def test_every_format_holds_the_same_matrix(name):
    FORMATS[name](name)
    assert np.array_equal(draw(name), W)


@pytest.mark.parametrize("radius", [0.0, 0.5, 1.3])
def test_a_requested_radius_only_scales_the_matrix(radius):
    np.save("W.npy", W)
    assert matrices.spectral_radius(draw("W.npy", spectral_radius=radius)) == pytest.approx(radius, rel=1e-12)
    assert np.array_equal(draw("W.npy", spectral_radius=radius), radius * draw("W.npy", spectral_radius=1.0))


def test_without_a_radius_that_of_the_file_was_requested():
    np.save("W.npy", W)
    assert MatrixFile("W.npy").requested == matrices.spectral_radius(W)
    records = lab.run({"initializer": {"name": "from_file", "path": "W.npy"}, "cell.hidden_size": 4, "engine": "numpy"})
    assert records.run["initializer_requested"] == records.run["initializer_realized"] == records.run["rho"]


def test_one_of_several_arrays_is_named():
    np.savez("many.npz", one=W, other=2 * W)
    assert np.array_equal(draw("many.npz", array="other"), 2 * W)


def test_integers_and_single_precision_are_read():
    np.save("W.npy", np.eye(4, dtype=np.int8))
    assert np.array_equal(draw("W.npy"), np.eye(4))
    save("W.safetensors", {"W": W.astype(np.float32)})
    assert np.array_equal(draw("W.safetensors"), W.astype(np.float32))


def test_every_gate_has_the_matrix_of_the_file():
    np.save("W.npy", W)
    params = lab.LSTM(2, 4, 1, gate_scale=1.0).init(0, MatrixFile("W.npy"))
    assert np.array_equal(params["W"], np.tile(W, (4, 1)))


NILPOTENT = np.triu(np.ones((6, 6)), 1)
ROTATION = np.linalg.qr(np.random.default_rng(1).standard_normal((6, 6)))[0]
BROKEN = np.where(np.eye(4) == 1, np.nan, 1.0)


@pytest.mark.parametrize(
    ("written", "fields", "message"),
    [
        ({"a": W[:3]}, {}, r"initializer.path='W.npz': array 'a' has shape \(3, 4\): must be square, \(N, N\)$"),
        ({"a": W[0]}, {}, r"array 'a' has shape \(4,\): must be square"),
        ({"a": np.zeros((0, 0))}, {}, r"array 'a' has shape \(0, 0\): must be square"),
        ({"a": BROKEN}, {}, r"initializer.path='W.npz': array 'a' holds nan at \[0, 0\] \(from 0\): must be finite$"),
        ({"a": W.astype(complex)}, {}, "array 'a' has the type complex128: must be numbers"),
        ({"a": W, "b": W}, {}, "has 2 arrays: set initializer.array to the name of one: 'a', 'b'$"),
        ({"first": W, "b": W}, {"array": "frist"}, "initializer.array='frist': the arrays are .*mean 'first'"),
        ({"a": W}, {"content": "0" * 32}, "initializer.content: SHA-256 mismatch: expected 000"),
        (
            {"a": NILPOTENT},
            {"spectral_radius": 0.9},
            "W.npz': the matrix has the spectral radius 0 and cannot be scaled",
        ),
        (
            {"a": ROTATION @ NILPOTENT @ ROTATION.T},
            {"spectral_radius": 0.9},
            "not known to 1e-06 .* cannot be scaled; leave spectral_radius out$",
        ),
        ({"a": W}, {"spectral_radius": -1}, "initializer.spectral_radius=-1: must be a finite number >= 0"),
    ],
)
def test_faults_are_said_in_one_line(written, fields, message):
    np.savez("W.npz", **written)
    with pytest.raises((ConfigurationError, NonFiniteError), match=message) as caught:
        MatrixFile("W.npz", **fields)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("path", "content", "message"),
    [
        ("", b"", "initializer.path: must name a file of yours, for example initializer.path=W.npz"),
        ("none.npy", None, "initializer.path='none.npy': there is no such file"),
        ("W.txt", b"1", "initializer.path='W.txt': must end in .npz, .npy, .safetensors, .csv"),
        ("W.csv", b"1,2\n3\n", "initializer.path='W.csv': cannot be read: .*number of columns changed"),
        ("W.csv", b"a,b\n1,2\n", "initializer.path='W.csv': cannot be read: could not convert string 'a'"),
        ("W.csv", b"", "initializer.path='W.csv': "),
        ("W.npy", b"\x93NUMPY", "initializer.path='W.npy': cannot be read"),
        ("W.npz", b"PK", "initializer.path='W.npz': cannot be read"),
        ("W.safetensors", b"12345678", "initializer.path='W.safetensors': cannot be read"),
    ],
)
@pytest.mark.filterwarnings("error")
def test_unreadable_files_are_refused(path, content, message):
    if content is not None and path:
        with open(path, "wb") as file:
            file.write(content)
    with pytest.raises(ConfigurationError, match=message):
        MatrixFile(path)


def test_sparse_indices_beyond_the_matrix_are_refused():
    parts = {"indices": np.array([9]), "indptr": np.array([0, 1, 1]), "data": np.ones(1), "shape": np.array([2, 2])}
    np.savez("W.npz", **parts, format=np.array(b"csr"))
    with pytest.raises(ConfigurationError, match=r"initializer.path='W.npz': cannot be read: .*ind(ex|ices)"):
        MatrixFile("W.npz")
    np.savez("W.npz", **parts, format=np.array(b"coo"))
    with pytest.raises(ConfigurationError, match="is a sparse matrix in the format 'coo': must be csr or csc"):
        MatrixFile("W.npz")


# in a configuration ---------------------------------------------------------------------------------------------------


def configured(path, **more):
    own = {"name": "from_file", "path": str(path)}
    return Configuration.parse({"initializer": own, "cell": {"name": "elman", "hidden_size": 4}, **more})


def test_the_content_of_the_file_identifies_the_run():
    np.save("W.npy", W)
    shutil.copy("W.npy", "same.npy")
    np.save("other.npy", 2 * W)
    first, same, other = (configured(name, spectral_radius=0.9) for name in ("W.npy", "same.npy", "other.npy"))
    assert first.run_id == same.run_id != other.run_id
    assert "path" not in first.plain["initializer"] and first.plain["spectral_radius"] == 0.9
    assert configured("W.npy").run_id != first.run_id


def test_a_file_of_another_size_is_refused_before_anything_runs():
    np.save("W.npy", np.eye(3))
    with pytest.raises(ConfigurationError, match="holds a matrix of 3 x 3, and cell.hidden_size is 4: set cell.hidden"):
        configured("W.npy")


def test_a_file_that_changes_meanwhile_is_refused():
    np.save("W.npy", W)
    initializer = configured("W.npy").initializer
    np.save("W.npy", np.zeros((4, 4)))
    with pytest.raises(LabError, match="has changed since the run was configured"):
        initializer.sample(np.random.default_rng(0), 4)


def test_theory_of_random_matrices_is_silent():
    np.save("W.npy", np.random.default_rng(0).standard_normal((64, 64)) / 8)
    chosen = {"initializer": {"name": "from_file", "path": "W.npy"}, "cell.hidden_size": 64, "engine": "numpy"}
    run = lab.run({**chosen, "sequence_length": 50, "batch_size": 1, "measure": "minimal"}).run
    assert run["mean_field_outside"] == "initializer=from_file: mean field is for independent entries"
    assert run.get("mean_field_rate") is None and run["bound_rate"] is not None


def test_several_files_are_points_of_a_sweep_with_their_names():
    np.save("first.npy", W)
    np.savez("second.npz", W=W.T @ W)
    line = ["initializer=from_file", "initializer.path=first.npy,second.npz", "spectral_radius=0.8,1.2", *SMALL]
    assert main(["sweep", "study=own", *line, "measure=minimal"]) == 0
    growth = tables.growth(lab.load("own").runs)
    assert sorted(zip(growth["matrix_file"], growth["initializer_requested"], strict=True)) == [
        ("first", 0.8),
        ("first", 1.2),
        ("second", 0.8),
        ("second", 1.2),
    ]
    assert not {"initializer_content", "initializer_array"} & set(growth)
    assert lab.load("own").runs["rho"].tolist() == pytest.approx(lab.load("own").runs["spectral_radius"].tolist())


def test_a_sweep_with_a_bad_file_writes_nothing(capsys, tmp_path):
    np.save("W.npy", np.eye(3))
    assert main(["sweep", "study=own", "initializer=from_file", "initializer.path=W.npy", *SMALL]) == 2
    assert "holds a matrix of 3 x 3" in capsys.readouterr().err
    assert not (tmp_path / "results").exists()
