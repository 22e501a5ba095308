"""A PyTorch module as a cell of a person's own file, with fields that a sweep varies.

@dataclass(frozen=True)
class Mine(lab.TorchCell):
    name: ClassVar[str] = "mine"
    slope: float = 1.0

    def build(self):
        return MyModule(self.input_size, self.hidden_size, self.slope)
"""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from bpttlab.errors import ConfigurationError
from bpttlab.networks.adapters.drawn import DrawnAdapter
from bpttlab.networks.adapters.from_torch import make_rows
from bpttlab.networks.adapters.torch_checks import import_torch, refuse_module
from bpttlab.networks.adapters.torch_rows import TorchRows, parameter_arrays
from bpttlab.networks.adapters.trials import attempt
from bpttlab.networks.cells.cell import Params
from bpttlab.plugin_sources import with_field


@dataclass(frozen=True)
class TorchCell(DrawnAdapter):
    """A cell whose module `build` makes. PyTorch's generator has the run's seed while it does.

    Without `predict` the readout is U h + b_y, as of other cells: it sees the first hidden_size numbers of the state.
    """

    @abstractmethod
    def build(self) -> Any:
        """The module, from the fields of the cell."""

    def next_state(self, module: Any, x_t: Any, state: Any) -> Any:
        """The state after a step; by default module(x_t, state)."""
        return module(x_t, state)

    def state_example(self) -> Any:
        """A state, or the sizes of its tensors, as `state=` of `lab.from_torch`; None: it is found."""
        return None

    @cached_property
    def row_functions(self) -> TorchRows:  # type: ignore[override]  # an attribute of the contract
        with with_field(f"cell={self.name}"):
            module = self.build_module(0)
            refuse_module(module, type(self).next_state is not TorchCell.next_state)
            refuse_drawn_constants(module, self.build_module(1))
            reader = self.own_reader()
            return make_rows(module, self.next_state, reader, self.input_size, self.state_example(), "float64")

    def build_module(self, seed: int) -> Any:
        """The module that a seed draws; PyTorch's own generator is left as it was."""
        torch = import_torch(f"cell={self.name}")
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            return attempt("build", self.build)

    def draw_values(self, seed: int) -> Params:
        return parameter_arrays(self.build_module(seed))


def refuse_drawn_constants(one: Any, other: Any) -> None:
    """Refuses a module with random numbers that are no parameters: they would be the same for all seeds.

    Raises:
        ConfigurationError: two modules of different seeds have different ones.
    """
    for (name, mine), (_, theirs) in zip(one.named_buffers(), other.named_buffers(), strict=False):
        if mine.shape != theirs.shape or not bool((mine == theirs).all()):
            raise ConfigurationError(
                f"build: the buffer {name!r} is drawn at random, and buffers are constants: make it a parameter "
                "(torch.nn.Parameter(…, requires_grad=False))"
            )
