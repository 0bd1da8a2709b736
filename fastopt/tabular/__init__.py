"""Tables as they are: columns of every kind made into numbers, and bags of small networks trained on them.

Internal until it has its estimators: what is public of it will stand here.
"""

__all__: list[str] = []
