"""The mathematics: one scalar function per optimizer."""
