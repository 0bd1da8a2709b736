"""The time that one call of ``fit`` takes, and when its ``max_time`` is over."""

from fastopt.engine import monotonic_clock


class Stopwatch:
    """Counts the seconds of training from its making on, which is when a call of ``fit`` begins.

    Parameters
    ----------
    max_time : float or None
        Seconds after which this call is to end.

    Attributes
    ----------
    max_time : float or None
    until : float or None
        When that is, by `fastopt.engine.monotonic_clock.now`.
    """

    def __init__(self, max_time: float | None) -> None:
        self.max_time: float | None = max_time
        self._began = self._zero = monotonic_clock.now()
        self.until: float | None = None if max_time is None else self._began + max_time

    def go_on_from(self, seconds: float) -> None:
        """Let `seconds` count those of training before this call, too."""
        self._zero = self._began - seconds

    def share(self, n: int) -> "Stopwatch":
        """Return a stopwatch that begins now and has an ``n``-th of the time that is left."""
        left = None if self.until is None else max(0.0, self.until - monotonic_clock.now())
        return Stopwatch(None if left is None else left / n)

    def seconds(self, at: float | None = None) -> float:
        """Return the seconds of training until now, or until another time of the same clock."""
        return (monotonic_clock.now() if at is None else at) - self._zero

    def is_over(self) -> bool:
        """Whether ``max_time`` has passed."""
        return monotonic_clock.is_past(self.until)
