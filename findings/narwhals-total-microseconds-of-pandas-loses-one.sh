#!/usr/bin/env bash
# narwhals 2.29.0: `Series.dt.total_microseconds()` of pandas durations goes through a floating-point number of seconds and cuts what is behind the
# point, so it is one microsecond short for two of a hundred durations of up to three hours. Of the same durations in polars it is exact, and so is pandas' own integer
# division. We had guessed that whole microseconds are counted in integers, as they are stored.
#
# Seen (2026-11-29, Python 3.11, pandas 3.1.1, polars 2.1.0): 263208874 us of pandas gives 263208873, and .0194 of 10,000 random ones are short by 1.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet narwhals==2.29.0 pandas==3.1.1 polars==2.1.0 numpy==2.4.6
"$work/venv/bin/python" - <<'PY'
import narwhals as nw
import numpy as np
import pandas as pd
import polars as pl

assert nw.__version__ == "2.29.0", nw.__version__
true = np.append(263208874, np.random.default_rng(0).integers(0, 10**10, 10_000))
durations = true.astype("timedelta64[us]")


def counted(series):
    return nw.from_native(series, series_only=True).dt.total_microseconds().to_numpy()


of_pandas, of_polars = counted(pd.Series(durations)), counted(pl.Series(durations))
print("first:", of_pandas[0], "of pandas,", of_polars[0], "of polars")
print("share of pandas' that differ:", np.mean(of_pandas != true), "by", set((of_pandas - true).tolist()))
assert of_pandas[0] == true[0] - 1
assert set((of_pandas - true).tolist()) == {-1, 0}
assert (of_polars == true).all()
assert (pd.Series(durations) // pd.Timedelta(microseconds=1) == true).all()
PY
