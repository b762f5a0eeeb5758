"""Work: the CPU time that one frame may cause, in units of about 50 ns."""

from __future__ import annotations

WORK_TIMES = 6
WORK_MORE = 512
"""Units that a frame may cause: `WORK_TIMES` for each of its bytes, plus `WORK_MORE`."""
VALUE, CONTAINER, OBJECT, KEY, ESCAPE = 3, 9, 32, 12, 3
"""Units for rendering any value; in addition, for a container, an object, a global or a cut mark;
for reading an object, once; for naming a key that is no clean text; for each byte that must be
escaped. No JSON has more containers than its bytes allow for."""


class Work:
    """The units of work that one frame may still cause. They are subtracted when work is done.

    Args:
        length: Bytes of the frame.
    """

    __slots__ = ("_next", "left")

    def __init__(self, length: int) -> None:
        self.left = WORK_TIMES * length + WORK_MORE
        """Units. Below zero, the values still to be rendered are cut."""
        self._next = self.left // 4
        """Units that the next attempt gets."""

    def again(self) -> None:
        """Begin another attempt; all later attempts together get half of what the first had."""
        self.left = self._next
        self._next //= 2

    def spend(self, units: int) -> bool:
        """Subtract units before work is done.

        Returns:
            False if fewer are left: then do not do the work.
        """
        if units > self.left:
            self.left = 0
            return False
        self.left -= units
        return True
