"""Fuzzing of the command line, and of the tables that it reads."""

import contextlib
import io
import os
import tempfile
import warnings
from pathlib import Path

from hypothesis import strategies as st

from fastopt import cli, datasets

from .odd import Unusable, works_or_explains

LINES = st.lists(
    st.lists(
        st.sampled_from(
            "1 2.5 -3 1e400 nan NaN inf a b,c yes no 2020-01-01 1.234,5 0x10 é \x00 ' \" ; ? NA 007".split()
            + ["", " ", "\t", "1_000"]
        ),
        min_size=1,
        max_size=4,
    ).map(",".join),
    max_size=8,
).map("\n".join)

TABLES = st.one_of(
    st.binary(max_size=40),
    LINES.map(lambda text: text.encode("utf-8")),
    LINES.map(lambda text: text.encode("latin-1")),
    st.integers(0, 10**6).map(
        lambda n: b"a,b,y\n" + b"".join(b"%d,%d,%d\n" % (i, i * n % 7, i * n % 2) for i in range(n % 30))
    ),
    LINES.map(lambda text: f"a,b,y\n{text}\n".encode()),
)


@st.composite
def table_cases(draw, is_long):
    ending = draw(
        st.sampled_from(["csv", "tsv", "npz", "xlsx", "parquet", "feather"] if is_long else ["csv", "npz"])
    )
    columns = st.sampled_from([None, "y", "a", "", "z"])
    options = {"target": draw(columns), "groups": draw(columns), "weights": draw(columns)}
    return draw(TABLES), ending, options, draw(st.sampled_from([None, "latin-1", "utf-16", "no-such"]))


def check_table(case):
    """Any bytes are a table or a `DatasetError` that names the file."""
    content, ending, options, encoding = case
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, f"table.{ending}")
        path.write_bytes(content)
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                datasets.load(str(path), encoding=encoding, **options)
        except datasets.DatasetError as error:
            if "C error" in str(error) or "tokenizing" in str(error):
                raise Unusable(f"in the words of pandas: {error}") from error
        except Exception as error:
            raise Unusable(f"{type(error).__name__}: {error}") from error


#: Values of the options of ``compare`` and ``sweep``; the small ones keep what runs short.
VALUES = {
    "--dataset": ["iris", "wine", "nothing", "table.csv", "ragged.csv", "empty.csv", "folder", ""],
    "--optimizers": ["adam", "sgd", "adam,sgd", "adma", ",", "", "lbfgs"],
    "--lr": ["0.1", "0", "-1", "nan", "inf", "1e30", "abc", "0.1 0.2", ""],
    "--batch-size": ["16", "0", "-5", "1.5", "a", "100000"],
    "--hidden": ["4", "0", "-1", "a", "4 4"],
    "--epochs": ["1", "0", "-1", "1.5", "x"],
    "--seeds": ["2", "1", "0", "-1", "x"],
    "--tuning-seeds": ["1", "0", "-2", "y"],
    "--cv": ["2", "1", "0", "1000", "x"],
    "--max-seconds": ["0.01", "0", "-1", "nan", "x"],
    "--scoring": ["accuracy", "r2", "nothing", "", "neg_log_loss"],
    "--target": ["y", "z", ""],
    "--groups": ["a", "z"],
    "--weights": ["a", "z"],
    "--search": ["grid", "halving", "optuna", "best"],
    "--target-score": ["0.5", "nan", "x"],
    "--out": ["out", "table.csv", "", "no/such/deep"],
    "--jobs": ["1", "0", "x"],
    "--preset": ["classify-1000x10", "x"],
    "--encoding": ["latin-1", "no-such"],
    "--nothing": ["1"],
}
SHORT = (
    "--epochs 1 --seeds 2 --hidden 3 --optimizers sgd --tuning-seeds 1 --no-yardstick --dataset iris".split()
)


@st.composite
def command_cases(draw, is_long):
    command = draw(st.sampled_from(["compare", "sweep", "compare", "nothing", ""]))
    names = draw(st.lists(st.sampled_from(sorted(VALUES)), min_size=1, max_size=3, unique=True))
    return command, [word for k in names for word in (k, *draw(st.sampled_from(VALUES[k])).split(" "))]


def _exit_code(argv):
    try:
        return cli.main(argv)
    except SystemExit as end:
        return end.code


def check_command(case):
    """A command line ends with 0, or with a sentence and no traceback."""
    command, words = case
    argv = [command, *(SHORT if command else ()), *words]
    out, err, before = io.StringIO(), io.StringIO(), os.getcwd()
    with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as stack:
        Path(folder, "table.csv").write_text("a,b,y\n" + "1,2,u\n2,1,v\n3,5,u\n" * 9)
        Path(folder, "ragged.csv").write_text("a,b,y\n1,2,u\n1,2,3,4,5\n")
        Path(folder, "empty.csv").write_text("")
        Path(folder, "folder").mkdir()
        os.chdir(folder)
        stack.callback(os.chdir, before)
        stack.enter_context(contextlib.redirect_stdout(out))
        stack.enter_context(contextlib.redirect_stderr(err))
        try:
            code = works_or_explains(lambda: _exit_code(argv), raw=())
        except Unusable as problem:
            raise Unusable(f"fastopt {' '.join(argv)}: {problem}") from problem
    said = err.getvalue()
    if "Traceback" in said or (code not in (0, None) and len(said) < 12):
        raise Unusable(f"fastopt {' '.join(argv)}: {code}, {said}")
    if "tokenizing" in said:
        raise Unusable(f"in the words of pandas: {said}")
