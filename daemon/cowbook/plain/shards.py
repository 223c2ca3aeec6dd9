"""Shards: symbols are divided among processes, each into exactly one."""

from __future__ import annotations

import re
from dataclasses import dataclass
from hashlib import blake2b

_TEXT = re.compile(r"([0-9]{1,5})/([0-9]{1,5})")
MOST_SHARDS = 10_000


@dataclass(frozen=True, slots=True)
class Shard:
    """One of `count` shards, from 0 on."""

    index: int
    count: int

    def has(self, symbol_id: str) -> bool:
        """Returns whether a symbol falls to this shard."""
        return shard_of(symbol_id, self.count) == self.index

    def __str__(self) -> str:
        """Returns it as it is written."""
        return f"{self.index}/{self.count}"


def parse_shard(text: str) -> Shard:
    """Parse a shard such as "0/4", the first of four. Raises ValueError for anything else."""
    match = _TEXT.fullmatch(text)
    shard = Shard(int(match[1]), int(match[2])) if match else Shard(0, 0)
    if not 0 <= shard.index < shard.count <= MOST_SHARDS:
        raise ValueError(f'must be I/N, such as "0/4" for the first of four shards; N is at most {MOST_SHARDS:,}')
    return shard


def shard_of(symbol_id: str, count: int) -> int:
    """Returns the index of the shard, of `count`, to which a symbol falls.

    By rendezvous hashing (Thaler and Ravishankar, 1998): each shard draws a number for the symbol, and the highest one has it.
    One shard more takes 1 / (count + 1) of the symbols, and no other symbol moves.
    """

    def draw(index: int) -> bytes:
        return blake2b(f"{index}\0{symbol_id}".encode("utf-8", "surrogateescape"), digest_size=8).digest()

    return max(range(count), key=draw)
