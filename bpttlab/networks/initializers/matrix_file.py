"""W from a file of a user's own."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Annotated, ClassVar

import numpy as np

from bpttlab import user_files
from bpttlab.errors import ConfigurationError
from bpttlab.fields import Field, Plain, check_integer
from bpttlab.networks.initializers.initializer import Initializer
from bpttlab.networks.initializers.matrix_reading import MATRIX_PATH, SquareMatrix, read_matrix
from bpttlab.numerics import matrices
from bpttlab.numerics.array import Array
from bpttlab.numerics.random_streams import Rng

MatrixPath = Annotated[
    str,
    Field(
        configured=None,
        description="required: a .npz, .npy, .safetensors or .csv file, from the current folder; ~ is the home folder",
    ),
]
ArrayName = Annotated[str | None, Field(description="name of the matrix in the file; null: the only one that there is")]


@dataclass(frozen=True)
class MatrixFile(Initializer):
    """W from a file of your own, as it is or scaled to `spectral_radius`: initializer=from_file initializer.path=W.npz.

    W[n, m] is the weight from unit m to unit n, h_t = f(W h_{t-1} + …). Nothing is drawn: all seeds have the same W,
    and so has each (N, N) block of a cell with gates. The run's identity contains the content of the file and not its
    name. A file that changes during a sweep is refused.

    Exact: everything; the spectral radius to the rounding of the eigenvalues. A matrix whose radius is 0, or is moved
    by the rounding of its entries, is refused if a radius is requested.

    Attributes:
        array: afterwards the name that was found.
        content: afterwards the first 32 digits of the SHA-256 of the file.
    """

    name: ClassVar[str] = "from_file"
    target: ClassVar[str] = "spectral_radius"
    has_spectral_radius: ClassVar[bool] = True

    path: MatrixPath = field(default="", compare=False)
    spectral_radius: Annotated[
        float | None,
        Field(
            ge=0,
            description="largest |eigenvalue| of W; null: the value spectral_radius, or else W as it is in the file",
        ),
    ] = None
    array: ArrayName = None
    content: user_files.Content = None

    def __post_init__(self) -> None:
        super().__post_init__()
        found = load_matrix(self.path, self.array, self.content)
        for name, value in settled_fields(self.path, found).items():
            object.__setattr__(self, name, value)
        if self.spectral_radius is not None:
            unit_of(self.path, found)

    @property
    def matrix(self) -> SquareMatrix:
        """What the file holds.

        Raises:
            LabError: it is not what it was when the run was configured.
        """
        return unchanged_matrix(self.path, self.array, self.content)

    @property
    def requested(self) -> float:
        """The spectral radius that was requested, or that of the file."""
        return self.matrix.radius if self.spectral_radius is None else self.spectral_radius

    def sample(self, rng: Rng, size: int) -> Array:
        """W as it is in the file, or scaled."""
        if self.spectral_radius is not None:
            return super().sample(rng, size)
        self.check_size(size)
        return self.matrix.W.copy()

    def check_units(self, size: int) -> None:
        check_matrix_size(self.path, self.matrix, size)

    def draw_unscaled(self, rng: np.random.Generator, size: int) -> Array:
        return unit_of(self.path, self.matrix)

    def measure_realized(self, W: Array) -> float:
        return matrices.spectral_radius(W)

    def identity_fields(self) -> Plain:
        """All but where the file is."""
        return {name: value for name, value in asdict(self).items() if name != "path"}


def load_matrix(path: str, array: str | None, content: str | None) -> SquareMatrix:
    """The matrix of a file that a configuration names, with the content that it requests."""
    if not path:
        raise ConfigurationError(f"{MATRIX_PATH}: must name a file of yours, for example {MATRIX_PATH}=W.npz")
    found = read_matrix(path, array)
    user_files.refuse_other_content("initializer.content", content, path, found.content)
    return found


def settled_fields(path: str, found: SquareMatrix) -> Plain:
    """The fields of an initializer that follow from its file."""
    return {"array": found.array, "content": found.content, "path": user_files.make_absolute(path)}


def unchanged_matrix(path: str, array: str | None, content: str | None) -> SquareMatrix:
    found = read_matrix(path, array)
    user_files.refuse_change(path, content, found.content)
    return found


def unit_of(path: str, found: SquareMatrix) -> Array:
    """The matrix over its spectral radius."""
    try:
        return found.unit
    except ConfigurationError as error:
        shown = user_files.show_path(path)
        raise ConfigurationError(f"{MATRIX_PATH}={shown!r}: {error}; leave spectral_radius out") from None


def check_matrix_size(path: str, found: SquareMatrix, size: int) -> None:
    """Refuses a matrix of another number of units."""
    if len(found.W) != check_integer("size", size, 1):
        N = len(found.W)
        raise ConfigurationError(
            f"{MATRIX_PATH}={user_files.show_path(path)!r}: holds a matrix of {N} x {N}, and cell.hidden_size is "
            f"{size}: set cell.hidden_size={N}"
        )
