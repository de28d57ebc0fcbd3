"""Makes the C library give freed tensors back to the system at once."""

from __future__ import annotations

import ctypes
import sys

_MMAP_THRESHOLD = -3  # mallopt's number for it
_BLOCK_BYTES = 1 << 18


def give_back_freed_memory() -> bool:
    """Blocks of a quarter megabyte or more get pages of their own, which go back when freed. True where this works.

    glibc otherwise keeps freed blocks, and those between live tensors are lost to larger ones: a run with gradient
    checkpointing then holds several times what it uses. The price is the kernel's work of clearing pages: up to half
    more time for a step in float32, next to nothing in bfloat16.
    """
    if not sys.platform.startswith("linux"):
        return False
    try:
        return bool(ctypes.CDLL(None).mallopt(_MMAP_THRESHOLD, _BLOCK_BYTES))
    except (OSError, AttributeError):  # a C library without it
        return False


def trim() -> None:
    """Give back once what is free by now, where the C library can. Later blocks are handled as before."""
    if sys.platform.startswith("linux"):
        try:
            ctypes.CDLL(None).malloc_trim(0)
        except (OSError, AttributeError):  # a C library without it
            pass
