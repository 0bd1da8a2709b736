"""The base class of the displays of studies."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING

from ..study import OptimizerStudy

if TYPE_CHECKING:
    from typing import Any

    import numpy.typing as npt
    from typing_extensions import Self


class StudyDisplay:
    """Base of the displays with `from_study`."""

    #: What `from_estimator` runs: 'fit' (tune and compare) or 'sweep' (the whole grid).
    _work = "fit"

    study_: OptimizerStudy

    @classmethod
    def from_estimator(cls, estimator: Any, X: Any, y: npt.ArrayLike, **parameters: Any) -> Self:
        """Run an `OptimizerStudy` of a network and plot it.

        Parameters
        ----------
        estimator : estimator
            The network, or a `Pipeline` that ends in one.
        X, y : array-like
            Data of the study.
        **parameters
            Those of `from_study`, such as ``ax``; all others are the study's, such as ``optimizers``.

        Returns
        -------
        display
            With the study as `study_`.
        """
        own = inspect.signature(cls.from_study).parameters
        drawing = {name: parameters.pop(name) for name in list(parameters) if name in own}
        study = OptimizerStudy(estimator, **parameters)
        getattr(study, cls._work)(X, y)
        display = cls.from_study(study, **drawing)
        display.study_ = study
        return display
