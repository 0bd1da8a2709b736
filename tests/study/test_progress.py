"""Live bars: seen in a terminal, silent elsewhere, and without effect on the numbers."""

import io
import sys
from contextlib import redirect_stderr

import numpy as np
import pytest
from reference.small_study import iris, small_study

from fastopt import MLPClassifier, MLPRegressor
from fastopt._extras import MissingExtraError
from fastopt._live import live_bars

SHOW_CURSOR = "\x1b[?25h"


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.fixture(autouse=True)
def _wide_terminal(monkeypatch):
    for name, value in {"TERM": "xterm", "COLUMNS": "120"}.items():
        monkeypatch.setenv(name, value)


def seen(call):
    """Return what ``call()`` returns, and what a terminal on standard error was sent meanwhile."""
    with redirect_stderr(Terminal()) as screen:
        result = call()
    return result, screen.getvalue()


def network(**settings):
    defaults = {"random_state": 0, "max_iter": 300, "tol": 0.5, "progress": True}
    return MLPClassifier((4,), **{**defaults, **settings})


@pytest.mark.parametrize("settings", [{}, {"early_stopping": True}, {"solver": "lbfgs", "max_iter": 4000}])
def test_a_fit_shows_its_loss_and_most_epochs_and_gives_the_cursor_back(settings):
    fitted, text = seen(lambda: network(**settings).fit(*iris()))
    assert f"MLPClassifier, loss {fitted.loss_:.4g}" in text
    assert f"/{fitted.max_iter}" in text
    assert "epochs at most" in text
    assert text.rindex(SHOW_CURSOR) > text.rindex("loss")


def test_the_bar_changes_no_number():
    watched, _ = seen(lambda: network().fit(*iris()))
    alone = network(progress=False).fit(*iris())
    for a, b in zip(watched.coefs_, alone.coefs_, strict=True):
        np.testing.assert_array_equal(a, b)


def test_a_regressor_has_it_too():
    regressor = MLPRegressor(hidden_layer_sizes=(4,), max_iter=20, tol=10.0, progress=True)
    assert "MLPRegressor, loss" in seen(lambda: regressor.fit(*iris()))[1]


def test_what_verbose_prints_goes_to_standard_output(capsys):
    _, text = seen(lambda: network(verbose=True).fit(*iris()))
    assert "Iteration 1, loss = " in capsys.readouterr().out
    assert "Iteration" not in text


def test_partial_fit_shows_nothing():
    assert seen(lambda: network().partial_fit(*iris(), classes=[0, 1, 2]))[1] == ""


def test_a_pipe_stays_quiet_even_where_colours_are_forced(monkeypatch, capsys):
    monkeypatch.setenv("FORCE_COLOR", "1")
    network().fit(*iris())
    small_study(progress=True).fit(*iris())
    assert capsys.readouterr().err == ""


def test_only_one_display_is_shown_at_a_time():
    def nested():
        with live_bars() as outer, live_bars() as inner:
            return outer, inner

    for _ in range(2):
        (outer, inner), _ = seen(nested)
        assert outer is not None
        assert inner is None


def test_ctrl_c_closes_the_bar(monkeypatch):
    def press(self, *epoch):
        raise KeyboardInterrupt

    monkeypatch.setattr(MLPClassifier, "_report", press)
    with pytest.warns(UserWarning, match="Training interrupted"):
        _, text = seen(lambda: network().fit(*iris()))
    assert text.count(SHOW_CURSOR) == 1
    monkeypatch.undo()
    assert "loss" in seen(lambda: network().fit(*iris()))[1]


def test_without_rich_the_message_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "rich.progress", None)
    with pytest.raises(MissingExtraError, match=r'progress=True needs rich.*pip install "fastopt\[cli\]"'):
        network().fit(*iris())


@pytest.mark.parametrize("wrong", [1, "yes", None])
def test_progress_is_true_or_false(wrong):
    with pytest.raises(ValueError, match="'progress' parameter of MLPClassifier must be"):
        network(progress=wrong).fit(*iris())


def test_a_study_shows_its_fits_and_the_epochs_of_the_one_in_hand():
    study, text = seen(lambda: small_study(progress=True).fit(*iris()))
    assert f"/{len(study.results_)}" in text
    assert "fits" in text
    assert "adam, lr 0.03" in text
    assert text.rindex(SHOW_CURSOR) > text.rindex("Study")
