"""The command line: fit, predict, export, compare, sweep, info, warmup, bench.

Its commands are public, the functions behind them internal (docs/stability.md).
"""

from __future__ import annotations

import argparse
import sys

from .. import __version__
from .._extras import MissingExtraError
from ..datasets import DatasetError
from . import bench, compare, export, fit, info, predict, warmup
from .arguments import SettingsError

_COMMANDS = {
    "fit": (fit.add_arguments, "fit a model to a table: score, model and report"),
    "predict": (predict.add_arguments, "apply such a model to a new table"),
    "export": (export.add_arguments, "write such a model as ONNX, which runs without Python"),
    "compare": (compare.add_compare, "train one network with several optimizers and say which is best"),
    "sweep": (compare.add_sweep, "map learning rate x batch size for each optimizer"),
    "info": (info.add_arguments, "print versions, threads, threading layer, devices, cache folder"),
    "warmup": (warmup.add_arguments, "compile the kernels now, so that the first fit does not wait"),
    "bench": (bench.add_arguments, "time optimizer steps and training on this machine"),
}


class _OneLineParser(argparse.ArgumentParser):
    """argparse without the usage text before an error: one line says what is wrong."""

    def error(self, message):
        if message.startswith(
            "unrecognized arguments"
        ):  # argparse names neither the command nor the known ones
            message += "; fastopt COMMAND --help lists those of a command"
        self.exit(2, f"{self.prog}: error: {message}\n")


def main(argv=None):
    """Run a command; return the exit code: 0, 2 for bad arguments, 1 for a failure, 130 after Ctrl-C.

    Parameters
    ----------
    argv : list of str, optional
        Arguments; default those of the process.
    """
    parser = _OneLineParser(prog="fastopt", description="Fast networks, honest optimizer comparisons.")
    parser.add_argument("--version", action="version", version=f"fastopt {__version__}")
    commands = parser.add_subparsers(
        dest="command", required=True, metavar="COMMAND", parser_class=_OneLineParser
    )
    for name, (add_arguments, summary) in _COMMANDS.items():
        command = commands.add_parser(
            name, help=summary, description=summary, formatter_class=argparse.ArgumentDefaultsHelpFormatter
        )
        command.set_defaults(run=add_arguments(command))
    arguments = parser.parse_args(argv)
    try:
        return arguments.run(arguments) or 0
    except (DatasetError, SettingsError) as problem:
        return _fail(arguments, problem, 2)
    except (MissingExtraError, OSError) as problem:
        return _fail(arguments, problem, 1)
    except KeyboardInterrupt:
        return _fail(arguments, "interrupted", 130)


def _fail(arguments, problem, code):
    print(f"fastopt {arguments.command}: error: {problem}", file=sys.stderr)
    return code
