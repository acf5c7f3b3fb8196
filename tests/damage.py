"""What happens to files: one damaged copy after the other, for readers that must notice."""

import numpy as np


def mutate(content: bytes, random: np.random.Generator, *, header: int = 24) -> bytes:
    """One copy that is cut, grown, doubled, or has some bytes or one bit overwritten, in its header or anywhere."""
    kind = random.integers(7)
    here, there = sorted(random.integers(0, len(content) + 1, 2))
    if kind == 0:
        return content[:here]
    if kind == 1:
        return content[:here] + content[there:]
    if kind == 2:
        return content[:there] + content[here:]
    if kind == 3:
        return content[:here] + random.bytes(random.integers(1, 9)) + content[here:]
    mutant = bytearray(content)
    for _ in range(random.integers(1, 4)):
        where = random.integers(0, min(len(content), header) if kind == 4 else len(content))
        mutant[where] = mutant[where] ^ 1 << random.integers(8) if kind == 5 else random.integers(256)
    return bytes(mutant)
