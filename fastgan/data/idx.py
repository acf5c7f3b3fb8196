"""IDX files, the format of MNIST: four bytes of magic, the dimensions, then plain bytes; often gzipped.

The idea: trust nothing. The header's claim is compared with the file's length before anything is allocated, a
gzip member is inflated in bounded pieces and never past one byte more than the claim, and every oddity, down to
a trailing byte, is one DataError that names the file. Format: http://yann.lecun.com/exdb/mnist (archived).
"""

import math
import os
import struct
import zlib
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from fastgan.errors import DataError

UNSIGNED_BYTES = 0x08
RANKS = (1, 3)  # labels, grey images
LARGEST = 2**31  # bytes of payload
PIECE = 1 << 16  # compressed bytes read at once
BURST = 1 << 20  # decompressed bytes taken at once
# A gzip file that claims over 32 MiB and shrank more than 200-fold is a bomb: MNIST shrinks 5-fold.
BOMB_BYTES, BOMB_RATIO = 1 << 25, 200


def is_idx(path: Path) -> bool:
    """True when the name says IDX: "ubyte" in it, or a suffix .idx, .idx1..., with or without .gz."""
    stem = path.name.lower().removesuffix(".gz")
    return "ubyte" in stem or Path(stem).suffix.startswith(".idx")


def read(path: str | os.PathLike[str]) -> NDArray[np.uint8]:
    """The bytes of an IDX file, plain or gzipped, as (n,) or (n, h, w) uint8.

    Raises DataError naming the file when it is missing, is not IDX of unsigned bytes and rank 1 or 3, holds no
    items or more than 2 GiB, or when its length is not exactly what its header says.
    """
    if not os.path.isfile(path):
        raise DataError(f"{path} is not a file; wanted an IDX file, plain or gzipped")
    try:
        with open(path, "rb") as file:
            return _decode(file, os.fstat(file.fileno()).st_size)
    except (OSError, ValueError, zlib.error) as error:
        raise DataError(f"{path} is not a sound IDX file: {error}; copy or download it again") from error


def header(shape: tuple[int, ...]) -> bytes:
    """The only header that an array of unsigned bytes of this shape can have."""
    return struct.pack(f">BBBB{len(shape)}I", 0, 0, UNSIGNED_BYTES, len(shape), *shape)


def _decode(file: BinaryIO, size: int) -> NDArray[np.uint8]:
    """The array in an open file of `size` bytes; ValueError with the reason otherwise."""
    zipped = file.read(2) == b"\x1f\x8b"
    length = _claimed_length(file, size) if zipped else size
    file.seek(0)
    source = Member(file) if zipped else Plain(file)
    shape = _read_shape(source)
    count = math.prod(shape)
    if len(header(shape)) + count != length:
        raise ValueError(
            f"its header says {shape}, so {len(header(shape)) + count} bytes, but it has {length}"
        )
    if zipped and count > BOMB_BYTES and count > BOMB_RATIO * size:
        raise ValueError(f"{size} bytes of gzip claim to hold {count}, which real images never do")
    payload = source.read(count)
    if len(payload) != count:
        raise ValueError(f"it ends after {len(payload)} of {count} bytes")
    source.finish()
    return np.frombuffer(payload, np.uint8).reshape(shape)


def _claimed_length(file: BinaryIO, size: int) -> int:
    """What the last four bytes of a gzip file say of its decompressed length, modulo 2^32."""
    if size < 18:  # header and trailer alone
        raise ValueError(f"{size} bytes are too few for gzip")
    file.seek(-4, os.SEEK_END)
    return int(struct.unpack("<I", file.read(4))[0])


def _read_shape(source: "Member | Plain") -> tuple[int, ...]:
    magic = bytes(source.read(4))
    if len(magic) < 4:
        raise ValueError(f"it holds {len(magic)} bytes, fewer than a header" if magic else "it is empty")
    if magic[:3] != bytes((0, 0, UNSIGNED_BYTES)) or magic[3] not in RANKS:
        raise ValueError(
            f"it begins with {magic.hex(' ')}, not with 00 00 08 01 (labels) or 00 00 08 03 (images)"
        )
    rank = magic[3]
    sizes = source.read(4 * rank)
    if len(sizes) < 4 * rank:
        raise ValueError("it ends inside its header")
    shape: tuple[int, ...] = struct.unpack(f">{rank}I", sizes)
    if not 0 < math.prod(shape) <= LARGEST:
        raise ValueError(f"its header says {shape}, which is nothing or over {LARGEST} bytes")
    return shape


class Plain:
    """A file as it is; its length was compared with the header's claim before."""

    def __init__(self, file: BinaryIO) -> None:
        self._file: Any = file  # readinto() is not in the type of BinaryIO

    def read(self, count: int) -> bytearray:
        """Up to `count` bytes, fewer only at the end."""
        piece = bytearray(count)
        del piece[self._file.readinto(piece) :]
        return piece

    def finish(self) -> None:
        """ValueError if anything is left."""
        if self._file.read(1):
            raise ValueError("there are bytes after its end")


class Member:
    """The one gzip member that a whole file consists of, inflated as far as asked and no further."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._inflate = zlib.decompressobj(wbits=31)  # gzip, checksum and length verified

    def read(self, count: int) -> bytearray:
        """Up to `count` bytes, fewer only at the end or where the file is cut off."""
        out = bytearray()
        while len(out) < count and not self._inflate.eof:
            raw = self._inflate.unconsumed_tail or self._file.read(PIECE)
            if not raw:
                break
            out += self._inflate.decompress(raw, min(BURST, count - len(out)))
        return out

    def finish(self) -> None:
        """ValueError unless the member ends here, whole, and the file with it."""
        if self.read(1):
            raise ValueError("it holds more than its header says")
        if not self._inflate.eof:
            raise ValueError("its gzip trailer is cut off")
        if self._inflate.unused_data or self._file.read(1):
            raise ValueError("there are bytes after the end of its gzip member")
