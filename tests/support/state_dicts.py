"""Files with the weights of PyTorch's modules, made without PyTorch."""

from __future__ import annotations

import json
import struct
from pathlib import Path

import numpy as np

GATES = {"elman": 1, "gru": 3, "lstm": 4}
TYPES = {"float64": "F64", "float32": "F32", "float16": "F16", "int64": "I64", "complex64": "C64", "bool": "BOOL"}


def state_dict(
    of="lstm", I=2, N=3, layers=1, O=1, bias=True, prefix="rnn.", readout="head.", seed=0, dtype="float64",
    projection=None,
):  # fmt: skip
    """What `module.state_dict()` has of a recurrent module and a linear one; O=None: no readout.

    With a projection N numbers are sent on, and so many remembered.
    """
    rng, rows = np.random.default_rng(seed), GATES[of] * (projection or N)
    shapes = {}
    for layer in range(layers):
        own = {"weight_ih": (rows, N if layer else I), "weight_hh": (rows, N)}
        own |= {"bias_ih": (rows,), "bias_hh": (rows,)} if bias else {}
        own |= {"weight_hr": (N, projection)} if projection else {}
        shapes |= {f"{prefix}{name}_l{layer}": shape for name, shape in own.items()}
    if O is not None:
        shapes |= {f"{readout}weight": (O, N), f"{readout}bias": (O,)}
    return {name: (rng.standard_normal(shape) / np.sqrt(N)).astype(dtype) for name, shape in shapes.items()}


def save(path, tensors):
    """A .safetensors file or a .npz archive."""
    if str(path).endswith(".npz"):
        np.savez(path, **tensors)
    else:
        Path(path).write_bytes(safetensors({name: (TYPES[str(v.dtype)], v) for name, v in tensors.items()}))
    return str(path)


def safetensors(typed):
    """The bytes of a .safetensors file, from its specification: the header's length, the header, the numbers."""
    header, data = {}, b""
    for name, (dtype, values) in typed.items():
        end = len(data) + values.nbytes
        header[name] = {"dtype": dtype, "shape": list(values.shape), "data_offsets": [len(data), end]}
        data += values.tobytes()
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    return struct.pack("<Q", len(text)) + text + data


def bidirectional(of="lstm", N=3, O=1, seed=0, prefix="rnn.", readout="head.", **more):
    """The same of a bidirectional module of one layer; the linear one receives both directions."""
    forward = state_dict(of, N=N, O=None, seed=seed, prefix=prefix, **more)
    backward = state_dict(of, N=N, O=None, seed=seed + 1, prefix=prefix, **more)
    head = {} if O is None else {f"{readout}weight": np.ones((O, 2 * N)), f"{readout}bias": np.ones(O)}
    return {**forward, **{f"{name}_reverse": values for name, values in backward.items()}, **head}
