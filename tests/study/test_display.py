import io
import itertools
import pickle

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from matplotlib.colors import to_rgb
from reference.small_study import SOLVERS, iris, network, small_study
from scipy.optimize import check_grad, rosen
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from fastopt import SGD, Adam
from fastopt.display import (
    PALETTE,
    SURFACES,
    ConfusionDisplay,
    HeatMapDisplay,
    LearningRateDisplay,
    LossCurveDisplay,
    OptimizerComparisonDisplay,
    OptimizerDifferenceDisplay,
    TrajectoryDisplay,
    overview,
)
from fastopt.display.style import below_axes, inline_svg, line_styles, new_axes, theme
from fastopt.display.trajectory import walk

plt.switch_backend("Agg")


@pytest.fixture(autouse=True)
def _close_figures():
    yield
    plt.close("all")


@pytest.fixture(scope="module")
def study():
    return small_study(n_seeds=4, max_epochs=4).fit(*iris())


@pytest.fixture(scope="module")
def sweep():
    return small_study(batch_size=[16, 64], n_seeds=2).sweep(*iris())


def test_the_loss_curve_is_that_of_the_fitted_network():
    fitted = make_pipeline(StandardScaler(), MLPClassifier((8,), max_iter=5, random_state=0))
    with pytest.warns(UserWarning, match="converged"):
        fitted.fit(*iris())
    display = LossCurveDisplay.from_estimator(fitted)
    np.testing.assert_array_equal(display.lines_[0].get_ydata(), fitted[-1].loss_curve_)
    assert display.lines_[0].get_label() == "adam"
    assert display.score_ax_ is None


def test_validation_scores_of_early_stopping_get_their_own_axis():
    fitted = MLPClassifier((8,), early_stopping=True, random_state=0).fit(*iris())
    display = LossCurveDisplay.from_estimator({"mine": fitted})
    np.testing.assert_array_equal(display.score_ax_.lines[0].get_ydata(), fitted.validation_scores_)


def test_a_network_without_a_loss_curve_is_refused_with_the_reason():
    fitted = MLPClassifier((8,), solver="lbfgs", random_state=0, max_iter=500).fit(*iris())
    with pytest.raises(ValueError, match=r"no loss_curve_ \(solver='lbfgs'\)"):
        LossCurveDisplay.from_estimator(fitted)


def test_a_display_draws_on_the_axes_it_is_given(study):
    _, ax = plt.subplots()
    display = OptimizerComparisonDisplay.from_study(study, ax=ax)
    assert display.ax_ is ax
    assert display.figure_ is ax.figure


def test_a_comparison_line_is_the_mean_over_seeds_of_each_epoch(study):
    display = OptimizerComparisonDisplay.from_study(study, metric="loss")
    runs = study.curves_[study.curves_["phase"] == "comparison"]
    for line in display.lines_:
        mine = runs[runs["optimizer"] == line.get_label()]
        np.testing.assert_allclose(line.get_ydata(), mine.groupby("epoch")["loss"].mean(), rtol=1e-14)
    assert len(display.bands_) == 2
    assert display.ax_.get_yscale() == "log"


def test_against_time_the_axis_says_seconds(study):
    display = OptimizerComparisonDisplay.from_study(study, x="seconds")
    assert display.ax_.get_xlabel() == "Training time (s)"
    assert all(np.all(np.diff(line.get_xdata()) > 0) for line in display.lines_)


def test_a_wrong_axis_is_named(study):
    with pytest.raises(ValueError, match=r"x='time' is not one of 'epoch', 'seconds', 'samples'"):
        OptimizerComparisonDisplay(study.curves_, x="time")
    with pytest.raises(ValueError, match=r"metric='acc' is not a column"):
        OptimizerComparisonDisplay(study.curves_, metric="acc")


def test_hollow_marks_are_the_differences_within_noise():
    comparisons = pd.DataFrame(
        {
            "optimizer": ["near", "far"],
            "difference": [0.001, 0.05],
            "low": [-0.01, 0.03],
            "high": [0.012, 0.07],
            "p_value": [0.8, 0.001],
            "n_seeds": [5, 5],
            "distinguishable": [False, True],
        }
    )
    display = OptimizerDifferenceDisplay(comparisons, "best", metric="accuracy").plot()
    marks = [container.lines[0] for container in display.ax_.containers]
    assert [mark.get_markerfacecolor() == "none" for mark in marks] == [False, True]  # drawn from below
    np.testing.assert_allclose([mark.get_xdata()[0] for mark in marks], [5.0, 0.1])  # as in the table: behind


def test_what_users_write_is_no_mathematics_in_any_picture():
    label = "$\\frac{a$ for $5"
    adam = MLPClassifier((4,), random_state=0)
    study = small_study({label: {"solver": "adam"}, "$b$": {"solver": "sgd"}}, batch_size=[16, 32], n_seeds=2)
    X, y = iris()
    y = np.array(["$c_{", "$d$", "e"])[y]
    study.fit(X, y)
    displays = [
        OptimizerComparisonDisplay.from_study(study),
        OptimizerDifferenceDisplay.from_study(study),
        LearningRateDisplay.from_study(study),
        HeatMapDisplay.from_study(study),
        ConfusionDisplay.from_study(study),
        LossCurveDisplay.from_estimator({label: adam.partial_fit(X, y, classes=np.unique(y))}),
    ]
    figures = [*(display.figure_ for display in displays), overview(study, title="$5 to $9$ {")]
    for figure in figures:
        figure.canvas.draw()  # mathematics that cannot be read raises here


def test_the_target_is_written_beside_the_curves(study):
    display = OptimizerComparisonDisplay.from_study(study)
    display.figure_.canvas.draw()
    (note,) = [text for text in display.ax_.texts if text.get_text().startswith("target")]
    assert note.get_window_extent().x0 >= display.ax_.get_window_extent().x1


@pytest.mark.parametrize(("first", "last"), [(1.13, 0.94), (4.9, 1.01), (0.0079, 0.0021), (0.5, 0.05)])
def test_a_loss_that_falls_a_little_has_a_scale_to_read(first, last):
    display = LossCurveDisplay({"adam": np.linspace(first, last, 9)}).plot()
    display.figure_.canvas.draw()
    low, high = display.ax_.get_ylim()
    shown = [y for y in display.ax_.get_yticks() if low <= y <= high]
    assert 2 <= len(shown) <= 8  # one tick is no scale, and more do not fit


@pytest.mark.parametrize("classes", [["a", "b"], ["versicolor", "virginica", "setosa"], range(10, 20)])
def test_names_of_classes_do_not_overlap(classes):
    counts = np.eye(len(classes), dtype=int)
    display = ConfusionDisplay({"Adam": counts, "SGD": counts, "Lion": counts}, list(classes)).plot()
    display.figure_.canvas.draw()
    for ax in display.ax_:
        boxes = [text.get_window_extent() for text in ax.get_xticklabels()]
        assert all(left.x1 < right.x0 for left, right in itertools.pairwise(boxes))


@pytest.mark.parametrize("spread", [3e-5, 0.02, 7.0])
def test_labels_of_differences_do_not_overlap(spread):
    comparisons = pd.DataFrame(
        {
            "optimizer": ["b", "c"],
            "difference": [spread, 2 * spread],
            "low": [-spread, spread],
            "high": [3 * spread, 3 * spread],
            "p_value": [0.8, 0.001],
            "n_seeds": [5, 5],
            "distinguishable": [False, True],
        }
    )
    figure, axes = plt.subplots(1, 3, figsize=(13.5, 4.4), width_ratios=(1, 1, 0.8))
    display = OptimizerDifferenceDisplay(comparisons, "a", metric="r2").plot(ax=axes[2])
    figure.canvas.draw()
    boxes = [text.get_window_extent() for text in display.ax_.get_xticklabels() if text.get_text()]
    assert len(boxes) >= 3
    assert all(left.x1 < right.x0 for left, right in itertools.pairwise(boxes))


def test_one_seed_draws_no_differences():
    study = small_study(n_seeds=1).fit(*iris())
    display = OptimizerDifferenceDisplay.from_study(study)
    assert "No comparison" in display.ax_.texts[0].get_text()


def test_the_learning_rate_axis_is_logarithmic_and_the_choice_is_ringed(study):
    display = LearningRateDisplay.from_study(study)
    assert display.ax_.get_xscale() == "log"
    rings = sorted(ring.get_offsets()[0][0] for ring in display.rings_)
    np.testing.assert_allclose(rings, sorted(v["lr"] for v in study.best_params_.values()))
    assert display.ax_.get_xlabel() == "Learning rate (ring: chosen)"


def test_a_sweep_chooses_no_rate_and_speaks_of_no_ring(sweep):
    display = LearningRateDisplay.from_study(sweep)
    assert not display.rings_
    assert display.ax_.get_xlabel() == "Learning rate"


def test_from_estimator_runs_the_sweep_itself():
    display = LearningRateDisplay.from_estimator(
        network(), *iris(), lr=[0.001, 0.01, 0.1], optimizers=SOLVERS, n_seeds=2, max_epochs=1
    )
    assert [list(line.get_xdata()) for line in display.lines_] == [[0.001, 0.01, 0.1]] * 2
    assert len(display.study_.results_) == 12


def test_a_study_without_a_grid_has_no_sensitivity():
    with pytest.raises(ValueError, match="give lr several values"):
        LearningRateDisplay.from_study(small_study(lr=0.01).fit(*iris()))


def test_each_cell_of_the_heat_map_is_the_mean_of_its_runs(sweep):
    display = HeatMapDisplay.from_study(sweep)
    means = sweep.results_.groupby(["optimizer", "lr", "batch_size"])["accuracy"].mean()
    for axes in display.ax_:
        shown = axes.images[0].get_array()
        for i, rate in enumerate((0.03, 0.003)):
            for j, size in enumerate((16, 64)):
                assert shown[i, j] == pytest.approx(means[axes.get_title(loc="left"), rate, size])


@pytest.mark.parametrize(("slowest", "unit", "scale"), [(0.5, "Milliseconds", 1000), (2.0, "Seconds", 1)])
def test_times_of_epochs_have_a_unit_that_can_be_read(sweep, slowest, unit, scale):
    seconds = np.geomspace(1e-4, slowest, len(sweep.results_))
    display = HeatMapDisplay(sweep.results_.assign(seconds_per_epoch=seconds), metric="seconds_per_epoch")
    (bar,) = {axes.get_ylabel() for axes in display.plot().figure_.axes} - {"", "Learning rate"}
    assert bar == f"{unit} per epoch"
    most = max(axes.images[0].get_array().max() for axes in display.ax_)
    means = display.results.groupby(["optimizer", "lr", "batch_size"])["seconds_per_epoch"].mean()
    assert most == pytest.approx(scale * means.max())


def test_a_setting_that_diverged_is_crossed_out(sweep):
    results = sweep.results_.copy()
    results.loc[results.index[0], "accuracy"] = np.nan
    display = HeatMapDisplay(results, metric="accuracy").plot()
    assert sum(text.get_text() == "×" for axes in display.ax_ for text in axes.texts) == 1


def test_settings_that_were_not_run_stay_empty_and_unequal_grids_keep_their_own_ticks():
    lr = {"momentum": [0.01, 0.1], "adam": [0.001, 0.01, 0.1]}
    display = HeatMapDisplay.from_estimator(
        network(), *iris(), optimizers=SOLVERS, lr=lr, batch_size=[16, 32], n_seeds=1, max_epochs=1
    )
    ticks = [[text.get_text() for text in axes.get_yticklabels()] for axes in display.ax_]
    assert ticks == [["0.1", "0.01"], ["0.1", "0.01", "0.001"]]
    results = display.study_.results_.iloc[1:]
    display = HeatMapDisplay(results, metric="accuracy").plot()
    assert [text.get_text() for text in display.ax_[0].texts].count("") == 1


def test_more_than_four_optimizers_take_two_rows(sweep):
    runs = sweep.results_[sweep.results_["optimizer"] == "adam"]
    many = pd.concat([runs.assign(optimizer=f"adam {i}") for i in range(6)])
    display = HeatMapDisplay(many, metric="loss").plot()
    assert len(display.ax_) == 6
    assert {axes.get_subplotspec().rowspan.start for axes in display.ax_} == {0, 1}
    with pytest.raises(ValueError, match="ax has 2 axes, and there are 6 optimizers"):
        HeatMapDisplay(many, metric="loss").plot(ax=plt.subplots(1, 2)[1])


def test_a_confusion_matrix_is_in_percent_of_the_true_class(study):
    display = ConfusionDisplay.from_study(study)
    assert [axes.get_title(loc="left") for axes in display.ax_] == ["momentum", "adam"]
    counts = study.confusion_["adam"]
    expected = 100 * counts / counts.sum(axis=1)[:, None]
    np.testing.assert_allclose(display.ax_[1].images[0].get_array(), expected)
    _, ax = plt.subplots()
    assert list(ConfusionDisplay.from_study(study, labels=["adam"], ax=ax).ax_) == [ax]


def test_a_confusion_matrix_that_does_not_exist_is_refused(study, sweep):
    with pytest.raises(ValueError, match=r"label 'lion' is not in this study\. Labels: 'momentum', 'adam'"):
        ConfusionDisplay.from_study(study, labels=["lion"])
    with pytest.raises(ValueError, match="no confusion matrix"):
        ConfusionDisplay.from_study(sweep)


def test_curves_need_a_comparison(sweep):
    with pytest.raises(ValueError, match="no comparison runs: call fit"):
        OptimizerComparisonDisplay.from_study(sweep)


def test_curves_of_one_seed_say_so():
    display = OptimizerComparisonDisplay.from_estimator(
        network(), *iris(), optimizers=SOLVERS, lr=0.01, n_seeds=1, max_epochs=2, x="samples"
    )
    assert "one seed: not a result" in display.ax_.get_legend().get_title().get_text()
    assert display.x == "samples"


def test_the_last_band_with_a_confidence_is_the_interval_of_the_summary(study):
    display = OptimizerComparisonDisplay.from_study(study, confidence=study.confidence)
    for label, band in zip(["momentum", "adam"], display.bands_, strict=True):
        row = study.summary_.set_index("optimizer").loc[label]
        last = band.get_paths()[0].vertices
        ends = last[last[:, 0] == 4][:, 1]  # max_epochs
        assert (ends.min(), ends.max()) == pytest.approx((row["accuracy_low"], row["accuracy_high"]))


def test_an_optimizer_has_one_colour_in_every_picture():
    # The first has nothing to tune, so it is not among the tuning runs, and it is the best: no difference.
    lr = {"fixed": 0.03, "momentum": [1e-5, 1e-4], "adam": [1e-5, 1e-4]}
    study = small_study({"fixed": {"solver": "adam"}, **SOLVERS}, lr=lr, max_epochs=10).fit(*iris())
    assert study.best_optimizer_ == "fixed"
    curves = OptimizerComparisonDisplay.from_study(study).lines_
    rates = LearningRateDisplay.from_study(study).lines_
    colours = {line.get_label(): line.get_color() for line in curves}
    assert {line.get_label(): colours[line.get_label()] for line in rates} == {
        line.get_label(): line.get_color() for line in rates
    }
    differences = OptimizerDifferenceDisplay.from_study(study).ax_
    names = [text.get_text() for text in differences.get_yticklabels()]
    marks = [container.lines[0].get_color() for container in differences.containers]
    assert marks == [colours[name] for name in names]


def test_the_overview_has_units_on_every_axis(study):
    figure = overview(study, title="Iris")
    assert len(figure.axes) == 3
    assert all(axes.get_xlabel() for axes in figure.axes)


def test_the_colours_stay_apart_for_colour_blind_readers():
    # Vienot, Brettel & Mollon (1999): what remains of linear RGB for protanopes and deuteranopes.
    simulations = (
        np.array([[0.11238, 0.88762, 0], [0.11238, 0.88762, 0], [0.00401, -0.00401, 1]]),
        np.array([[0.29275, 0.70725, 0], [0.29275, 0.70725, 0], [-0.02234, 0.02234, 1]]),
    )
    colours = np.array([to_rgb(colour) for colour in PALETTE[:6]]) ** 2.2
    for simulation in simulations:
        seen = np.clip(colours @ simulation.T, 0, 1) ** (1 / 2.2)
        gaps = np.linalg.norm(seen[:, None] - seen, axis=-1)[np.triu_indices(6, 1)]
        assert gaps.min() > 0.09  # nearest pair; identical colours give 0, and dashes and marks differ too


def test_the_first_picture_of_a_figure_has_all_of_its_labels():
    """With other numbers beside the axis than were measured for, the label beyond them was cut off."""
    with theme():
        figure, ax = new_axes(None, (4.4, 4.1))
        for label, style in line_styles(f"optimizer {i}" for i in range(7)).items():
            ax.plot([0, 50], [0.91, 0.95], label=label, **style)
        # Two decimals along the axis that is measured first, three along the one that is drawn.
        ax.set(xlabel="Epoch", ylabel="Validation accuracy", ylim=(0.908, 0.9515))
        below_axes(ax, "a title of the legend")
    figure.savefig(io.StringIO(), format="svg")
    first = ax.get_position().bounds
    for _ in range(3):  # until matplotlib comes to rest
        figure.savefig(io.StringIO(), format="svg")
    np.testing.assert_allclose(first, ax.get_position().bounds, atol=2e-3)  # a pixel of 400; it was 8


def test_a_figure_can_be_pickled(study):
    figure = LearningRateDisplay.from_study(study).figure_
    pickle.loads(pickle.dumps(figure)).savefig(io.BytesIO())


def test_an_inline_svg_takes_the_colour_of_the_page_and_describes_itself(study):
    svg = inline_svg(OptimizerComparisonDisplay.from_study(study).figure_, 'loss & "accuracy"')
    assert svg.startswith('<svg role="img" aria-label="loss &amp; &quot;accuracy&quot;"')
    assert "currentColor" in svg
    assert "#40454d" not in svg.lower()


@pytest.mark.parametrize("name", SURFACES)
def test_the_gradient_of_a_surface_is_that_of_its_values(name):
    surface = SURFACES[name]
    for point in np.random.default_rng(0).uniform(-1.5, 1.5, (5, 2)):
        error = check_grad(lambda p: surface.value(*p), lambda p: np.array(surface.gradient(*p)), point)
        assert error < 1e-4  # forward differences: about 1e-8 times the second derivative, here up to 2,000


def test_rosenbrock_is_scipys():
    assert SURFACES["rosenbrock"].value(0.3, -0.7) == pytest.approx(rosen([0.3, -0.7]))


@pytest.mark.parametrize("name", SURFACES)
def test_the_minima_are_minima(name):
    surface = SURFACES[name]
    for minimum in surface.minima:
        np.testing.assert_allclose(surface.gradient(*minimum), 0, atol=1e-12)


def test_a_walk_of_gradient_descent_is_the_formula():
    surface = SURFACES["saddle"]
    point = np.array(surface.start)
    path = walk(SGD(lr=0.1), surface, 5)
    for step in path[1:]:
        point = point - 0.1 * np.array(surface.gradient(*point))
        np.testing.assert_allclose(step, point, rtol=1e-14)


def test_a_walk_that_leaves_the_finite_numbers_ends_there():
    path = walk(SGD(lr=1.0), SURFACES["rosenbrock"], 50)
    assert np.isfinite(path[0]).all()
    assert np.isnan(path[-1]).all()


def test_each_optimizer_walks_at_its_best_rate():
    display = TrajectoryDisplay.from_optimizers({"gd": SGD(), "adam": Adam()}, "beale", n_steps=30)
    surface = SURFACES["beale"]
    for label, path in display.paths.items():
        name, rate = label.split(", lr ")
        chosen = surface.value(*path[-1])
        other = walk({"gd": SGD, "adam": Adam}[name](lr=0.001), surface, 30)
        assert chosen <= surface.value(*other[-1])
        assert float(rate) > 0


def test_an_animation_is_saved_and_moves(tmp_path):
    from PIL import Image

    file = tmp_path / "walk.gif"
    TrajectoryDisplay.from_optimizers([SGD()], "saddle", n_steps=20, lr=0.1).animate(file, frames=4)
    with Image.open(file) as picture:
        assert picture.n_frames == 4
        first = np.asarray(picture.convert("RGB"))
        picture.seek(3)
        assert (first != np.asarray(picture.convert("RGB"))).any()


def test_a_wrong_surface_is_named():
    with pytest.raises(ValueError, match="surface='bowl' is not one of 'rosenbrock', 'beale', 'saddle'"):
        TrajectoryDisplay.from_optimizers([SGD()], "bowl")
