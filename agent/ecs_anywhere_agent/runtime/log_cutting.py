"""Gives back the disk that the older part of a log takes, while somebody writes to its end.

The file keeps its length, with a hole at its beginning, so that neither who appends nor who follows it is disturbed.
https://man7.org/linux/man-pages/man2/fallocate.2.html
"""

import os
from pathlib import Path
from typing import BinaryIO

_KEEP_SIZE, _PUNCH_HOLE = 0x01, 0x02
_BLOCK = 4096
"""Most file systems'; in a part of a block the hole would be zeros, which a reader would come upon."""


def cut(log: Path, keep: int) -> int:
    """Let go of all but the last `keep` bytes. How many were let go of, with those of before.

    Raises OSError: where the file system cannot do it (EOPNOTSUPP), too.
    """
    import ctypes  # noqa: PLC0415 - what few agents ever do should cost the others no memory

    with log.open("r+b") as file:
        end = max(os.fstat(file.fileno()).st_size - keep, 0) // _BLOCK * _BLOCK
        if not end:
            return 0
        libc = ctypes.CDLL(None, use_errno=True)
        offset = ctypes.c_int64
        if libc.fallocate64(file.fileno(), _KEEP_SIZE | _PUNCH_HOLE, offset(0), offset(end)):
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number), str(log))
    return end


def first_byte(file: BinaryIO) -> int:
    """Where what is left of it begins."""
    try:
        return os.lseek(file.fileno(), 0, os.SEEK_DATA)
    except OSError:  # there is nothing in it, or the file system knows no holes
        return 0
    finally:
        file.seek(0)
