"""`device` of the estimators on a machine without a GPU."""

import numpy as np
import pytest

from fastopt import MLPClassifier, MLPRegressor
from fastopt.kernels.cuda import api as cuda

pytestmark = pytest.mark.skipif(cuda.problem() is None, reason="there is a GPU here")

X, Y = np.eye(4), [0, 1, 0, 1]


@pytest.mark.parametrize("device", ["cuda", "cuda:3"])
@pytest.mark.parametrize("fit", ["fit", "partial_fit"])
def test_the_error_names_the_device_and_the_extra_and_nothing_is_fitted(device, fit):
    net = MLPRegressor(device=device)
    with pytest.raises(cuda.DeviceError, match=rf"device='{device}'.*fastopt\[cuda12\]"):
        getattr(net, fit)(X, Y)
    assert not hasattr(net, "coefs_")


def test_a_fitted_network_that_is_sent_to_a_gpu_refuses_to_predict_without_one():
    clf = MLPClassifier(solver="lbfgs", random_state=0).fit(X, Y)
    expected = clf.predict_proba(X)
    clf.set_params(device="cuda")
    with pytest.raises(cuda.DeviceError, match="device='cpu' needs no GPU"):
        clf.predict(X)
    np.testing.assert_array_equal(clf.set_params(device="auto").predict_proba(X), expected)


def test_a_gpu_is_looked_for_again_after_an_error(monkeypatch):
    clf = MLPClassifier(device="cuda", max_iter=1)
    for reason in ("no driver", "no device"):
        monkeypatch.setattr(cuda, "problem", lambda reason=reason: reason)
        with pytest.raises(cuda.DeviceError, match=reason):
            clf.fit(X, Y)
