"""Wrong passwords are slowed: the more there were, the longer until the next is looked at."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

FREE = 3
"""Wrong tries of one address before it has to wait."""
FREE_OF_ALL = 20
"""The same for all addresses together, since an attacker can have many."""
LONGEST_S = 300.0
LONGEST_FOR_ALL_S = 10.0
"""Short, because everybody waits."""
FORGOTTEN_S = 3600.0
MOST_ADDRESSES = 1000


@dataclass
class _Wrong:
    count: int = 0
    last: float = 0.0


class Tries:
    """Counts wrong tries in memory, of at most `MOST_ADDRESSES` addresses."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._by_address: OrderedDict[str, _Wrong] = OrderedDict()
        self._all = _Wrong()

    def wait(self, address: str) -> float:
        """Seconds until a try from this address is looked at; 0 for at once."""
        with self._lock:
            theirs = self._left(self._by_address.get(address, _Wrong()), FREE, LONGEST_S)
            return max(theirs, self._left(self._all, FREE_OF_ALL, LONGEST_FOR_ALL_S))

    def wrong(self, address: str) -> None:
        """A try was wrong."""
        with self._lock:
            known = self._by_address.pop(address, None) or _Wrong()
            self._by_address[address] = known
            for counted in (known, self._all):
                if self._clock() - counted.last > FORGOTTEN_S:
                    counted.count = 0
                counted.count += 1
                counted.last = self._clock()
            while len(self._by_address) > MOST_ADDRESSES:
                self._by_address.popitem(last=False)

    def right(self, address: str) -> None:
        """A try was right: what went before was a slip."""
        with self._lock:
            self._by_address.pop(address, None)

    def _left(self, counted: _Wrong, free: int, longest_s: float) -> float:
        if counted.count < free:
            return 0.0
        # Capped: 2 to the power of a few thousand is no float any more.
        pause = min(longest_s, 2.0 ** min(counted.count - free, 16))
        return max(0.0, counted.last + pause - self._clock())
