"""Recurrent units. A new cell is one file in this folder with one class; it is found by its `name`."""

from __future__ import annotations

from bpttlab.networks.cells.antisymmetric import Antisymmetric
from bpttlab.networks.cells.cell import Cell
from bpttlab.networks.cells.clockwork import Clockwork
from bpttlab.networks.cells.cornn import CoRNN
from bpttlab.networks.cells.diagonal import Diagonal
from bpttlab.networks.cells.dilated import Dilated
from bpttlab.networks.cells.elman import Elman
from bpttlab.networks.cells.gru import GRU
from bpttlab.networks.cells.input_scales import Scales
from bpttlab.networks.cells.layer_norm_elman import LayerNormElman
from bpttlab.networks.cells.layer_norm_gru import LayerNormGRU
from bpttlab.networks.cells.layer_norm_lstm import LayerNormLSTM
from bpttlab.networks.cells.leaky import Leaky
from bpttlab.networks.cells.lipschitz_rnn import LipschitzRNN
from bpttlab.networks.cells.lstm import LSTM
from bpttlab.networks.cells.min_gru import MinGRU
from bpttlab.networks.cells.min_lstm import MinLSTM
from bpttlab.networks.cells.minimal_rnn import MinimalRNN
from bpttlab.networks.cells.noisy import Noisy
from bpttlab.networks.cells.orthogonal import OrthogonalElman
from bpttlab.networks.cells.peephole_lstm import PeepholeLSTM
from bpttlab.networks.cells.projected_lstm import ProjectedLSTM
from bpttlab.networks.cells.scornn import ScoRNN
from bpttlab.networks.cells.selective_diagonal import SelectiveDiagonal
from bpttlab.networks.cells.slstm import SLSTM
from bpttlab.networks.cells.stacked import Stacked

__all__ = [
    "GRU",
    "LSTM",
    "SLSTM",
    "Antisymmetric",
    "Cell",
    "Clockwork",
    "CoRNN",
    "Diagonal",
    "Dilated",
    "Elman",
    "LayerNormElman",
    "LayerNormGRU",
    "LayerNormLSTM",
    "Leaky",
    "LipschitzRNN",
    "MinGRU",
    "MinLSTM",
    "MinimalRNN",
    "Noisy",
    "OrthogonalElman",
    "PeepholeLSTM",
    "ProjectedLSTM",
    "Scales",
    "ScoRNN",
    "SelectiveDiagonal",
    "Stacked",
]
