"""Refusal of attributes that would do nothing, such as ``stepper.lr = 0.1``."""

from typing import Any, ClassVar


class KnownAttributes:
    """Base of the steppers: only attributes that a class declares can be set, and private ones."""

    #: Attributes that ``state_dict`` saves, beside the arrays.
    counts: ClassVar[tuple[str, ...]] = ()

    def __setattr__(self, name: str, value: Any) -> None:
        if name in self.__dict__ or name[0] == "_" or self._declares(name):
            object.__setattr__(self, name, value)
            return
        groups = getattr(self, "param_groups", None) or [{}]
        hint = ""
        if name in groups[0]:
            hint = f"; hyper-parameters are in its groups: stepper.param_groups[0][{name!r}] = ..."
        raise AttributeError(f"a stepper has no attribute {name!r} that can be set{hint}")

    @classmethod
    def _declares(cls, name):
        return name in cls.counts or any(
            name in vars(one) or name in vars(one).get("__annotations__", ()) for one in cls.__mro__
        )
