"""A step function of JAX as a cell of a person's own file, with fields that a sweep varies.

@dataclass(frozen=True)
class Mine(lab.JaxCell):
    name: ClassVar[str] = "mine"

    def build(self, key):
        return {"W": jax.random.orthogonal(key, self.hidden_size)}

    def next_state(self, params, x_t, state):
        return jnp.tanh(params["W"] @ state + x_t)
"""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from bpttlab.networks.adapters.drawn import DrawnAdapter
from bpttlab.networks.adapters.from_jax import import_jax, make_jax_rows
from bpttlab.networks.adapters.jax_rows import JaxRows, ParameterTree
from bpttlab.networks.adapters.trials import attempt
from bpttlab.networks.cells.cell import Params
from bpttlab.plugin_sources import with_field


@dataclass(frozen=True)
class JaxCell(DrawnAdapter):
    """A cell whose parameters `build` draws from a key, and whose functions are written for one sequence.

    Without `predict` the readout is U h + b_y, as of other cells: it sees the first hidden_size numbers of the state.
    """

    @abstractmethod
    def build(self, key: Any) -> Any:
        """The parameters, a pytree, from a key and the fields of the cell."""

    @abstractmethod
    def next_state(self, params: Any, x_t: Any, state: Any) -> Any:
        """The state after a step."""

    def state_example(self) -> Any:
        """A state, or the sizes of its arrays, as `state=` of `lab.from_jax`; by default hidden_size numbers."""
        return self.hidden_size

    @cached_property
    def row_functions(self) -> JaxRows:  # type: ignore[override]  # an attribute of the contract
        with with_field(f"cell={self.name}"):
            tree, reader = self.build_tree(0), self.own_reader()
            return make_jax_rows(self.next_state, tree, reader, self.input_size, self.state_example(), "float64")

    def build_tree(self, seed: int) -> Any:
        """The parameters that a seed draws."""
        jax = import_jax(f"cell={self.name}")
        return attempt("build", lambda: self.build(jax.random.key(seed)))

    def draw_values(self, seed: int) -> Params:
        return ParameterTree(self.build_tree(seed)).values
