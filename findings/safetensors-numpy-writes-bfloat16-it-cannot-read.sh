#!/usr/bin/env bash
# safetensors 0.8.0 with ml_dtypes 0.6.0: `safetensors.numpy.save` takes a NumPy array of `ml_dtypes.bfloat16` and writes a correct BF16
# entry, but `safetensors.numpy.load` of these bytes raises KeyError: 'BF16', a name alone, although ml_dtypes is loaded. `load_file`
# reads the same bytes from a file as ml_dtypes.bfloat16. We had guessed a round trip, or an error when writing; not that memory and file
# differ.
#
# Seen (2026-11-28, Python 3.11): header dtype BF16; load KeyError: 'BF16'; load_file bfloat16 [1.5 -2 0.25].
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet numpy==2.4.6 safetensors==0.8.0 ml_dtypes==0.6.0
cd "$work"
"$work/venv/bin/python" - <<'PY'
import importlib.metadata
import json

import ml_dtypes
import numpy as np
from safetensors.numpy import load, load_file, save, save_file

assert importlib.metadata.version("safetensors") == "0.8.0"
array = np.array([1.5, -2.0, 0.25], dtype=ml_dtypes.bfloat16)
data = save({"a": array})
length = int.from_bytes(data[:8], "little")
header = json.loads(data[8 : 8 + length])
print("header:", header["a"])
assert header["a"]["dtype"] == "BF16"
begin, end = header["a"]["data_offsets"]
codes = np.frombuffer(data[8 + length :][begin:end], np.uint16)
assert (codes == array.view(np.uint16)).all()
try:
    load(data)
except KeyError as error:
    print("load: KeyError:", error)
    assert error.args == ("BF16",)
else:
    raise SystemExit("load now reads bfloat16")
save_file({"a": array}, "a.safetensors")
read = load_file("a.safetensors")["a"]
print("load_file:", read.dtype, read)
assert read.dtype == array.dtype
assert (read == array).all()
PY
