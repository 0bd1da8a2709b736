"""torch where it is installed; a newcomer's tests do without it."""

import pytest

try:
    import torch
except ImportError:
    torch = None

needs_torch = pytest.mark.skipif(torch is None, reason="could not import 'torch': No module named 'torch'")
