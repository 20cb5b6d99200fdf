"""How many bytes may be held at once: of transfers under way and results not yet taken."""

FIRST_GUESS_BYTES = 128 << 10
_SHARE_OF_NEW = 0.05


class Memory:
    """An account of bytes with a limit.

    Attributes:
        held_bytes: what is reserved now.
        mean_bytes: what a file takes, by those that came lately.
    """

    def __init__(self, limit_bytes: int) -> None:
        """Open the account. Raises nothing."""
        self._limit_bytes = limit_bytes
        self.held_bytes = 0
        self.mean_bytes = min(float(FIRST_GUESS_BYTES), float(limit_bytes))

    def has_room(self, num_bytes: int) -> bool:
        """Tell whether so many bytes fit; anything fits where nothing is held. Raises nothing."""
        return self.held_bytes + num_bytes <= self._limit_bytes or self.held_bytes == 0

    def reserve(self, num_bytes: int) -> bool:
        """Reserve bytes that fit, and tell whether they did. Raises nothing."""
        if self.held_bytes + num_bytes > self._limit_bytes:
            return False
        self.held_bytes += num_bytes
        return True

    def hold(self, num_bytes: int) -> None:
        """Reserve bytes in any case, where `has_room` was asked before. Raises nothing."""
        self.held_bytes += num_bytes

    def release(self, num_bytes: int) -> None:
        """Give bytes back. Raises nothing."""
        self.held_bytes -= num_bytes

    def learn(self, num_bytes: int) -> None:
        """Take the size of one more file into the mean. Raises nothing."""
        self.mean_bytes += (num_bytes - self.mean_bytes) * _SHARE_OF_NEW
