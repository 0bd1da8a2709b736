"""Predictions of exported models by onnxruntime, against those of the estimators; the bytes of the files.

    python bench/bench_onnx.py [--json results/onnx.json]

2,000 rows of 20 columns of numbers, two classes; one thread each. First the probabilities of all rows have to
agree within 1e-6. Ratios are medians over alternating runs; above 1, onnxruntime is faster.
"""

import argparse
import functools
import warnings

import numpy as np
import onnxruntime
from _measure import compare, measure, write_json
from sklearn.exceptions import ConvergenceWarning

from fastopt import MLPClassifier, TabularMLPClassifier, to_onnx
from fastopt.onnx_export import session_inputs

_SHORT = {"max_iter": 5, "random_state": 0, "n_jobs": 1}
CASES = {
    "MLPClassifier((128, 64))": MLPClassifier((128, 64), **_SHORT),
    'MLPClassifier((128, 64), activation="gelu")': MLPClassifier((128, 64), activation="gelu", **_SHORT),
    "MLPClassifier((128, 64), n_members=5)": MLPClassifier((128, 64), n_members=5, **_SHORT),
    "TabularMLPClassifier()": TabularMLPClassifier(**_SHORT),
}


def session_of(exported):
    """Return a session of one thread."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    return onnxruntime.InferenceSession(
        exported.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )


def bench_onnx():
    """Time predictions of one row and of 1,000."""
    X = np.random.default_rng(0).standard_normal((2000, 20)).astype(np.float32)
    y = (X[:, 0] + X[:, 1] ** 2 > 1).astype(int)
    rows = {}
    for name, model in CASES.items():
        model.fit(X, y)
        exported = to_onnx(model)
        session = session_of(exported)
        found = session.run(None, session_inputs(model, X))[1]
        np.testing.assert_allclose(found, model.predict_proba(X), rtol=0, atol=1e-6)
        for n in (1, 1000):
            inputs = session_inputs(model, X[:n])
            calls = [
                functools.partial(session.run, None, inputs),
                functools.partial(model.predict_proba, X[:n]),
            ]
            row = compare(measure(calls, 7), 0, 1) | {"bytes": exported.ByteSize()}
            rows[f"{name}, {n} rows"] = row
            print(
                f"{name:<45} {n:5} rows: onnxruntime {row['ours'] * 1e6:9.1f} us, "
                f"{row['ratio']:5.2f}x as fast as predict_proba; {row['bytes'] / 1e3:.0f} kB",
                flush=True,
            )
    return rows


def main():
    """Time the predictions and print a table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--json", help="where to write the rows")
    options = parser.parse_args()
    warnings.simplefilter("ignore", ConvergenceWarning)
    rows = bench_onnx()
    if options.json:
        write_json(options.json, rows)


if __name__ == "__main__":
    main()
