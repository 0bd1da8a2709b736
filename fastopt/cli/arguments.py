"""What several commands read from the command line."""

from __future__ import annotations

import argparse


class SettingsError(ValueError):
    """An invalid argument that is found only with the data; the message is one line."""


def reader(convert, what):
    """Return a type for argparse: ``convert`` reads the text, and errors say that it is not ``what``."""

    def read(text):
        try:
            return convert(text)
        except ValueError:
            raise argparse.ArgumentTypeError(f"{text!r} is not {what}") from None

    return read


def positive(number, below=float("inf")):
    """Return a converter to numbers above 0 and below a bound, which raises ValueError for others."""

    def convert(text):
        value = number(text)
        if not 0 < value < below:
            raise ValueError
        return value

    return convert


def _seed(text):
    value = int(text)
    if value < 0:
        raise ValueError
    return value


seed = reader(_seed, "a whole number of at least 0")
count = reader(positive(int), "a whole number of at least 1")
seconds = reader(positive(float), "a positive number")
share = reader(positive(float, 1), "a number above 0 and below 1")
