"""Models in MLflow: saved and logged as files without code, and loaded back, as they are and as pyfunc."""

import sys
from pathlib import Path

import numpy as np
import pytest
from sklearn.datasets import load_diabetes, load_iris
from sklearn.exceptions import NotFittedError

import fastopt.mlflow
from fastopt import MLPClassifier, MLPRegressor, TabularMLPClassifier, TabularMLPRegressor
from fastopt._extras import MissingExtraError

pytest.importorskip("safetensors", reason='needs pip install "fastopt[files]"')
pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

X, Y = load_iris(return_X_y=True)
HORIZONTAL, VERTICAL = load_diabetes(return_X_y=True)
FEW = {"max_iter": 3, "random_state": 0}

MODELS = {
    "classifier": lambda: MLPClassifier((8,), **FEW).fit(X, Y),
    "float32": lambda: MLPClassifier((8,), **FEW).fit(X.astype(np.float32), Y),
    "multilabel": lambda: MLPClassifier((8,), **FEW).fit(
        X, np.eye(3, dtype=int)[Y] | np.eye(3, dtype=int)[0]
    ),
    "regressor": lambda: MLPRegressor(hidden_layer_sizes=(8,), **FEW).fit(HORIZONTAL, VERTICAL),
    "members": lambda: MLPRegressor(hidden_layer_sizes=(8,), n_members=2, **FEW).fit(HORIZONTAL, VERTICAL),
    "table": lambda: TabularMLPClassifier(**FEW).fit(X, Y),
    "table, numbers": lambda: TabularMLPRegressor(**FEW).fit(HORIZONTAL, VERTICAL),
}


@pytest.mark.parametrize("kind", MODELS)
def test_a_logged_model_comes_back_with_its_bits(kind, mlflow):
    model = MODELS[kind]()
    rows = (X if model.n_features_in_ == 4 else HORIZONTAL)[:7].astype(
        np.float32 if kind == "float32" else np.float64
    )
    logged = fastopt.mlflow.log_model(model, name="model", input_example=rows)
    again = fastopt.mlflow.load_model(logged.model_uri)
    assert type(again) is type(model)
    np.testing.assert_array_equal(again.predict(rows), model.predict(rows))
    served = mlflow.pyfunc.load_model(logged.model_uri)
    np.testing.assert_array_equal(served.predict(rows), model.predict(rows))
    assert served.metadata.signature.inputs.is_tensor_spec()
    assert type(served.get_raw_model()) is type(model)
    pandas = pytest.importorskip("pandas")
    np.testing.assert_array_equal(served.predict(pandas.DataFrame(rows)), model.predict(rows))


def test_probabilities_are_chosen_when_it_is_logged_or_loaded(mlflow):
    model = MODELS["classifier"]()
    plain = fastopt.mlflow.log_model(model, name="plain", input_example=X[:2]).model_uri
    direct = fastopt.mlflow.log_model(model, name="direct", pyfunc_predict_fn="predict_proba").model_uri
    expected = model.predict_proba(X)
    chosen = {"predict_fn": "predict_proba"}
    np.testing.assert_array_equal(mlflow.pyfunc.load_model(plain, model_config=chosen).predict(X), expected)
    np.testing.assert_array_equal(mlflow.pyfunc.load_model(direct).predict(X), expected)
    with pytest.raises(
        ValueError, match=r"'transform' is no prediction of a MLPClassifier, which has \['pred"
    ):
        fastopt.mlflow.save_model(model, "model", pyfunc_predict_fn="transform")
    with pytest.raises(ValueError, match="'predict_proba' is no prediction of a MLPRegressor"):
        fastopt.mlflow.save_model(MODELS["regressor"](), "model", pyfunc_predict_fn="predict_proba")


def test_a_table_of_every_kind_of_column_keeps_its_types(mlflow):
    pandas = pytest.importorskip("pandas")
    table = pandas.DataFrame(
        {
            "length": X[:, 0],
            "colour": pandas.Series(["red", None, "blue"] * 50),
            "is_wide": X[:, 1] > 3,
            "when": pandas.date_range("2024-01-01", periods=150),
        }
    )
    model = TabularMLPClassifier(**FEW).fit(table, Y)
    uri = fastopt.mlflow.log_model(model, name="table", input_example=table[:5]).model_uri
    served = mlflow.pyfunc.load_model(uri)
    np.testing.assert_array_equal(served.predict(table), model.predict(table))
    assert served.metadata.signature.inputs.input_names() == list(table)
    with pytest.raises(mlflow.MlflowException, match="length"):  # the signature is enforced
        served.predict(table.drop(columns="length"))


def test_the_files_hold_no_code_and_say_what_they_need(mlflow, tmp_path):
    folder = tmp_path / "model"
    model = MODELS["classifier"]()
    fastopt.mlflow.save_model(model, folder, extra_pip_requirements=["pandas>=2"], metadata={"by": "me"})
    names = {path.name for path in folder.rglob("*") if path.is_file()}
    assert names == {"MLmodel", "conda.yaml", "model.safetensors", "python_env.yaml", "requirements.txt"}
    again = fastopt.load(folder / "data" / "model.safetensors")
    np.testing.assert_array_equal(again.coefs_[0], model.coefs_[0])
    lines = (folder / "requirements.txt").read_text().splitlines()
    assert {*fastopt.mlflow.get_default_pip_requirements(), "pandas>=2"} <= {*lines}
    described = mlflow.models.Model.load(folder)
    assert described.metadata == {"by": "me"}
    assert described.flavors["fastopt"]["fastopt_version"] == fastopt.__version__
    np.testing.assert_array_equal(fastopt.mlflow.load_model(folder).predict(X), model.predict(X))


def test_requirements_of_ones_own_take_the_place_of_the_defaults(mlflow, tmp_path):
    model = MODELS["classifier"]()
    fastopt.mlflow.save_model(model, tmp_path / "one", pip_requirements=["fastopt"])
    assert (tmp_path / "one" / "requirements.txt").read_text().split() == [
        f"mlflow=={mlflow.__version__}",
        "fastopt",
    ]
    fastopt.mlflow.save_model(model, tmp_path / "two", conda_env={"dependencies": [{"pip": ["fastopt"]}]})
    assert "fastopt" in (tmp_path / "two" / "conda.yaml").read_text()
    with pytest.raises(ValueError, match="Only one of `conda_env`, `pip_requirements`"):
        fastopt.mlflow.save_model(model, tmp_path / "three", conda_env={}, pip_requirements=["fastopt"])


def test_a_registered_model_is_found_by_its_name(mlflow):
    model = MODELS["regressor"]()
    fastopt.mlflow.log_model(model, name="model", registered_model_name="diabetes")
    again = fastopt.mlflow.load_model("models:/diabetes/1")
    np.testing.assert_array_equal(again.predict(HORIZONTAL), model.predict(HORIZONTAL))


def test_what_cannot_be_saved_leaves_nothing_behind(mlflow, tmp_path):
    with pytest.raises(NotFittedError):
        fastopt.mlflow.save_model(MLPClassifier(), tmp_path / "model")
    own = MLPClassifier((4,), learning_rate=lambda t: 1 / (1 + t), solver="sgd", **FEW).fit(X, Y)
    with pytest.raises(TypeError, match="learning_rate"):
        fastopt.mlflow.save_model(own, tmp_path / "model")
    assert not (tmp_path / "model").exists()


def test_models_of_others_and_damaged_ones_are_refused(mlflow, tmp_path):
    class Zero(mlflow.pyfunc.PythonModel):
        def predict(self, context, model_input, params=None):
            return np.zeros(len(model_input))

    mlflow.pyfunc.save_model(tmp_path / "other", python_model=Zero(), pip_requirements=[])
    with pytest.raises(ValueError, match=r"of the flavours \['python_function'\], not of 'fastopt'"):
        fastopt.mlflow.load_model(tmp_path / "other")
    fastopt.mlflow.save_model(MODELS["classifier"](), tmp_path / "model")
    file = Path(tmp_path, "model", "data", "model.safetensors")
    file.write_bytes(file.read_bytes()[:100])
    with pytest.raises(ValueError, match=r"model\.safetensors"):
        fastopt.mlflow.load_model(tmp_path / "model")
    with pytest.raises((OSError, mlflow.MlflowException)):
        fastopt.mlflow.load_model(tmp_path / "nowhere")


@pytest.mark.parametrize("call", ["autolog", "log_model", "save_model", "load_model"])
def test_each_function_says_which_extra_it_needs(call, monkeypatch):
    arguments = {"autolog": (), "log_model": (None,), "save_model": (None, "x"), "load_model": ("x",)}[call]
    for name in [name for name in sys.modules if name.partition(".")[0] == "mlflow"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "mlflow", None)
    fastopt.mlflow.autologging._integration.cache_clear()
    with pytest.raises(MissingExtraError, match=r'pip install "fastopt\[mlflow\]"'):
        getattr(fastopt.mlflow, call)(*arguments)
