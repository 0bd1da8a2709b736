"""Tables as they are: columns of every kind made into numbers, and bags of small networks trained on them."""

from fastopt.tabular.columns import TableEncoder

__all__ = ["TableEncoder"]
