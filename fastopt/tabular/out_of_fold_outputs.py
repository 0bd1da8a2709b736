"""Outputs for rows held out, after the epoch that is best for the other folds."""

from collections.abc import Sequence

import numpy as np

from fastopt.engine import Member

#: Most bytes of outputs of all networks that are kept before the best of them are taken out.
_MOST_BYTES = 1 << 24


class OutOfFoldOutputs:
    """Takes from each network the outputs of its rows held out after one epoch, which other folds choose.

    That epoch is the last with the least loss of the rows held out of the other networks in the same repeat
    of the cross-validation. A network's own best epoch is the best for just the rows held out of it: scores
    of its outputs are too good, by much where folds are small.

    Parameters
    ----------
    members : sequence of Member
        In the order of repeats, and in these of folds.
    shares : ndarray of shape (n_members,)
        Weight of the rows held out of each.
    n_folds : int
    """

    def __init__(self, members: Sequence[Member], shares: np.ndarray, n_folds: int) -> None:
        self._members, self._n_done = members, 0
        number = np.arange(len(members))
        same_repeat, itself = (
            np.equal.outer(number // n_folds, number // n_folds),
            np.eye(len(number), dtype=bool),
        )
        chooses = same_repeat & ~itself
        chooses |= ~chooses.any(axis=1, keepdims=True) & ~itself  # alone in its repeat
        chooses |= ~chooses.any(axis=1, keepdims=True)  # alone
        self._weights = chooses * shares
        self._least = np.full(len(members), np.inf)
        self._outputs: list[np.ndarray | None] = [None] * len(members)

    def epochs_at_once(self, n_outputs: int) -> int:
        """Return after how many epochs `take` is to be called, so that little memory is needed."""
        n_rows = sum(0 if member.held_out is None else len(member.held_out) for member in self._members)
        return max(1, _MOST_BYTES // (4 * n_rows * n_outputs))

    def take(self) -> None:
        """Look through the epochs that all networks have done, and let go of their outputs."""
        going_on = [len(member.losses) for member in self._members if not member.has_diverged]
        n_done = min(going_on, default=max(len(member.losses) for member in self._members))
        epochs = slice(self._n_done, n_done)
        self._n_done, n_new = n_done, n_done - self._n_done
        if not n_new:
            return
        losses = np.full((len(self._members), n_new), np.nan)
        for row, member in zip(losses, self._members, strict=True):
            own = member.validation_losses[epochs]
            row[: len(own)] = own
        is_finite = np.isfinite(losses)
        weights = self._weights @ is_finite
        chosen_by = self._weights @ np.where(is_finite, losses, 0)
        chosen_by = np.divide(
            chosen_by, weights, out=np.full_like(losses, np.inf), where=is_finite & (weights > 0)
        )
        for j, (member, curve) in enumerate(zip(self._members, chosen_by, strict=True)):
            best = n_new - 1 - int(np.argmin(curve[::-1]))  # the last of equals
            if curve[best] <= self._least[j] and np.isfinite(curve[best]):
                self._least[j], self._outputs[j] = curve[best], member.outputs[best].copy()
            rest = None if member.outputs is None else member.outputs[n_new:]
            member.outputs = rest.copy() if rest is not None and len(rest) else None

    def outputs(self) -> list[np.ndarray]:
        """Return the outputs of each network; where nothing could choose, those of its own best epoch."""
        return [
            own if own is not None else member.best_outputs
            for own, member in zip(self._outputs, self._members, strict=True)
        ]
