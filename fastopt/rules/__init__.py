"""The mathematics: one scalar function per optimizer.

Internal: it may change in any version (docs/stability.md). `fastopt.register` is the public way in.
"""
