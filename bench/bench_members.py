"""Networks side by side: their rate beside the machine's, ensembles and tuning fits beside one by one.

``python bench/bench_members.py`` runs three sections. Of ``rate`` both sides are processor time of one
thread, so that neighbours matter little; of the others it is the time on the clock, too, which tells only on
a quiet machine.
"""

import argparse
import functools
import time
import warnings

import numpy as np
from _measure import run_sections
from threadpoolctl import threadpool_limits

from fastopt import Adam, MLPClassifier
from fastopt.engine import Layout, Member, MemberTrainer
from fastopt.study import OptimizerStudy, executor, side_by_side

HIDDEN, BATCH, N_MEMBERS = (128, 128, 128), 256, 5
#: Rows, columns, hidden layers, batch and epochs of ensembles.
ENSEMBLES = ((300, 20, (32,), 32, 60), (1200, 50, HIDDEN, BATCH, 30))
#: Rows, hidden layers, batch of studies.
STUDIES = ((300, (16,), 32), (1800, (32,), 32), (1800, (128, 128), 128))


def problem(n, n_features, n_classes=10):
    """Return rows of float32 and labels, at random: what is measured does not depend on them."""
    rs = np.random.RandomState(0)
    return rs.standard_normal((n, n_features)).astype(np.float32), rs.randint(n_classes, size=n)


def members_of(layout, X, labels):
    """Return five members, each of which holds out a fifth of the rows."""
    rs, Y = np.random.RandomState(1), np.eye(10, dtype=np.float32)[labels]
    members = []
    for seed in range(N_MEMBERS):
        params = np.zeros(layout.size, np.float32)
        for weights in layout.weights(params):
            weights[...] = rs.standard_normal(weights.shape) / np.sqrt(len(weights))
        update = Adam(lr=1e-3, weight_decay=0.01).flat(layout.size, layout.n_decay, np.float32)
        rows, n = rs.permutation(len(X)), len(X) * 4 // 5
        draws = np.random.RandomState(seed)
        members.append(Member(params, update, X, Y, rows[:n].copy(), draws, held_out=rows[n:].copy()))
    return members


def operations(layout, n_trained, n_validated):
    """Return the operations of an epoch's products; nothing goes back through the first layer."""
    weights = [a * b for a, b in layout.shapes]
    return (6 * sum(weights) - 2 * weights[0]) * n_trained + 2 * sum(weights) * n_validated


def sgemm_rate(n=1024):
    """Return the operations a second of a product of large matrices, in processor time."""
    a = np.random.RandomState(0).standard_normal((n, n)).astype(np.float32)
    begin = time.process_time()
    for _ in range(4):
        a @ a
    return 4 * 2 * n**3 / (time.process_time() - begin)


def rate(options):
    """Compare the loop over members, all of it, with sgemm."""
    rows = []
    for activation in ("relu", "silu"):
        for n_features in (16, 50, 128):
            layout = Layout([n_features, *HIDDEN, 10])
            members = members_of(layout, *problem(1500, n_features))
            trainer = MemberTrainer(
                layout, activation=activation, out_activation="softmax", loss="log_loss", dtype=np.float32,
                n_threads=1,
            )  # fmt: skip
            train = functools.partial(trainer.train, members, n_epochs=options.epochs, batch_size=BATCH)
            train()
            work = N_MEMBERS * options.epochs * operations(layout, 1200, 300)
            pairs = []
            for _ in range(options.repeats):
                with threadpool_limits(1):
                    peak = sgemm_rate()
                begin = time.process_time()
                train()
                pairs.append((work / (time.process_time() - begin), peak))
            pairs = np.array(pairs)
            share = float(np.median(pairs[:, 0] / pairs[:, 1]))
            rows.append({"activation": activation, "n_features": n_features, "share_of_sgemm": share})
            print(
                f"{activation}, {n_features} inputs: {share:.0%} of {np.median(pairs[:, 1]) / 1e9:.0f} Gflops"
            )
    return rows


def _ratios(what, ours, theirs, repeats):
    """Alternate two calls; return and print the medians of the ratios of clock and processor time."""
    ours(), theirs()
    spent = np.empty((repeats, 2, 2))
    for row in spent:
        for column, call in enumerate((ours, theirs)):
            begin = time.perf_counter(), time.process_time()
            call()
            row[column] = time.perf_counter() - begin[0], time.process_time() - begin[1]
    clock, processor = np.median(spent[:, 0] / spent[:, 1], axis=0).tolist()
    print(f"{what}: {clock:.2f} of the time one by one, {processor:.2f} of the processor's")
    return {"case": what, "time": clock, "processor_time": processor}


def ensemble(options):
    """Compare ``n_members=5`` with five fits."""
    rows = []
    for n, n_features, hidden, batch, n_epochs in ENSEMBLES:
        X, y = problem(n, n_features)
        arguments = {"batch_size": batch, "max_iter": n_epochs, "n_iter_no_change": np.inf}
        together = MLPClassifier(hidden, n_members=N_MEMBERS, random_state=0, **arguments).fit(X, y)
        alone = [MLPClassifier(hidden, random_state=m.random_state, **arguments) for m in together.members_]
        what = f"5 x {hidden}, {n} rows"
        rows.append(
            _ratios(
                what,
                lambda model=together, X=X, y=y: model.fit(X, y),
                lambda models=alone, X=X, y=y: [model.fit(X, y) for model in models],
                options.repeats,
            )
        )
    return rows


def study(options):
    """Compare a study whose 24 tuning fits are made side by side, of 26 in all, with fits one by one."""
    rows, is_possible = [], side_by_side.is_possible

    def compare(network, X, y, allowed):
        executor.side_by_side.is_possible = is_possible if allowed else lambda task: False
        rates = [0.001, 0.003, 0.01, 0.03]
        comparison = {"n_seeds": 1, "n_tuning_seeds": 3, "max_epochs": 30}
        OptimizerStudy(network, ["momentum", "adam"], lr=rates, **comparison).fit(X, y)

    for n, hidden, batch in STUDIES:
        network, data = MLPClassifier(hidden, batch_size=batch), problem(n, 64)
        calls = (functools.partial(compare, network, *data, allowed) for allowed in (True, False))
        rows.append(_ratios(f"a study of {hidden}, {n} rows", *calls, options.repeats))
    side_by_side.is_possible = is_possible
    return rows


def main():
    """Run the sections that the command line names."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--epochs", type=int, default=20, help="of the section rate")
    sections = {"rate": rate, "ensemble": ensemble, "study": study}
    warnings.simplefilter("ignore")
    run_sections(parser, sections, list(sections))


if __name__ == "__main__":
    main()
