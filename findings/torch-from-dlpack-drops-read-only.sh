#!/usr/bin/env bash
# torch 2.13.0 with NumPy 2.4.6: `torch.from_dlpack(array)` takes a read-only NumPy array without a word and shares its memory; the tensor
# writes through, and the array that calls itself read-only has changed. `torch.from_numpy` and `torch.as_tensor` warn (once a process).
# NumPy's DLPack 1.0 export carries a read-only flag, so we had guessed an error, as NumPy's own import of an older export gives a read-only
# array. Back in NumPy (`np.from_dlpack` of that tensor) the same memory is writable.
#
# Seen (2026-11-28, Python 3.11): [0. 1. 2.] became [9. 1. 2.] while flags.writeable was False; from_numpy: UserWarning.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet numpy==2.4.6 torch==2.13.0
"$work/venv/bin/python" - <<'PY'
import warnings

import numpy as np
import torch

assert (np.__version__, torch.__version__.split("+")[0]) == ("2.4.6", "2.13.0")
array = np.arange(3.0)
array.flags.writeable = False
with warnings.catch_warnings():
    warnings.simplefilter("error")
    tensor = torch.from_dlpack(array)
assert tensor.data_ptr() == array.ctypes.data
tensor[0] = 9.0
print(array, "writeable:", array.flags.writeable)
assert array[0] == 9.0
assert not array.flags.writeable
assert np.from_dlpack(tensor).flags.writeable
for make in (torch.from_numpy, torch.as_tensor):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        make(array)
    print(make.__name__, "warnings:", len(caught))
    # torch says so once a process.
    assert len(caught) == (make is torch.from_numpy)
PY
