"""What a worker and its parent say to each other: pickled objects, each with its size and a checksum.

A worker executes what a user has written, and libraries that may write anywhere: bytes that are no message are
noticed before anything waits for the rest of them.
"""

from __future__ import annotations

import pickle
import struct
import zlib
from multiprocessing.connection import Connection
from multiprocessing.reduction import ForkingPickler
from typing import Any

READY = "ready"
"""What a worker says first, if it can compute."""
BEGUN = "begun"
"""What it says when it has received a task."""

MAGIC = b"lab\x01"
HEAD = struct.Struct("!4sIQ")


class MessageError(Exception):
    """Bytes that are no message."""


def pack(value: object) -> bytes:
    """An object as it is sent."""
    return bytes(ForkingPickler.dumps(value))


def unpickle(data: bytes) -> Any:
    """The object that was sent.

    Raises:
        MessageError: this process cannot make it from the bytes.
    """
    try:
        return pickle.loads(data)
    except Exception as error:  # a class may raise anything when it is made again
        raise MessageError(f"{type(error).__name__}: {error}") from None


def send(pipe: Connection[Any, Any], data: bytes) -> None:
    """Sends what `pack` has made."""
    pipe.send_bytes(HEAD.pack(MAGIC, zlib.crc32(data), len(data)))
    pipe.send_bytes(data)


def receive(pipe: Connection[Any, Any]) -> bytes:
    """Waits for what `send` has sent.

    Raises:
        MessageError: what was sent is something else.
        EOFError, OSError: the other end is closed.
    """
    head = receive_at_most(pipe, HEAD.size)
    if len(head) != HEAD.size or not head.startswith(MAGIC):
        raise MessageError(f"its pipe has bytes that are no message: {head[:20]!r}")
    _, checksum, size = HEAD.unpack(head)
    data = receive_at_most(pipe, size)
    if len(data) != size or zlib.crc32(data) != checksum:
        raise MessageError("a message of its pipe is damaged")
    return data


def receive_at_most(pipe: Connection[Any, Any], size: int) -> bytes:
    """One message of the pipe, which must have no more bytes."""
    try:
        return pipe.recv_bytes(size)
    except OSError as error:
        if error.errno is None:  # the pipe announces more
            raise MessageError("its pipe has bytes that are no message") from None
        raise
