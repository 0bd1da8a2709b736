#!/usr/bin/env bash
# baycomp 1.0.3: the Bayesian signed-rank test (`SignedRankTest.probs`) of a method against itself, on 10 data sets, with no region of practical
# equivalence (rope=0): (0.68, 0.32), where nothing but (0.5, 0.5) can be meant. In each sample of the posterior both sides sum the same weights in
# another way, and the rounding of that exact tie decides the winner, so that the answer is the same whatever the scores are. With a rope of 0.01 it is
# right: equal with probability 1. We had guessed one half, or an error.
#
# Seen (2026-11-29, Python 3.11): rope 0: probabilities (0.681, 0.319); rope 0.01: (0, 1, 0).
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet baycomp==1.0.3 numpy==2.4.6 scipy==1.17.1 matplotlib==3.10.7
"$work/venv/bin/python" - <<'PY'
from importlib.metadata import version

import baycomp
import numpy as np

assert version("baycomp") == "1.0.3"
scores = np.random.default_rng(0).uniform(size=10)
without = baycomp.SignedRankTest.probs(scores, scores, rope=0, random_state=0)
withal = baycomp.SignedRankTest.probs(scores, scores, rope=0.01, random_state=0)
print("a method and itself, rope 0:   ", np.round(without, 3))
print("a method and itself, rope 0.01:", np.round(withal, 3))
assert abs(without[0] - 0.5) > 0.1, without
assert withal[1] == 1
PY
