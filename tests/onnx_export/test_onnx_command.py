"""``python -m fastopt export``."""

import numpy as np
import pytest
from reference.onnx_sessions import session

import fastopt
from fastopt import TabularMLPClassifier, cli, register_activation

pytestmark = pytest.mark.filterwarnings("ignore:X does not have valid feature names")


@pytest.fixture(autouse=True)
def onnx():
    pytest.importorskip("safetensors")
    return pytest.importorskip("onnx")


@pytest.fixture
def model(tmp_path, monkeypatch):
    """Return a model of a table whose file is ``model.fastopt`` in the present folder."""
    pandas = pytest.importorskip("pandas")
    monkeypatch.chdir(tmp_path)
    frame = pandas.DataFrame({"size": [1.0, 2.0, 3.0, 4.0] * 10, "color": ["red", "blue", None, "red"] * 10})
    fitted = TabularMLPClassifier(n_members=2, max_iter=3, random_state=0).fit(frame, ["a", "b"] * 20)
    fastopt.save(fitted, "model.fastopt")
    return fitted


def test_it_writes_the_model_and_says_what_it_takes(model, capsys, onnx):
    assert cli.main(["export", "model.fastopt", "model.onnx"]) == 0
    assert capsys.readouterr().out.splitlines() == [
        "model.onnx takes:",
        "  size: float64 (n, 1)",
        "  color: string (n, 1)",
        "model.onnx returns:",
        "  label: string (n)",
        "  probabilities: float32 (n, 2)",
    ]
    inputs = {"size": np.array([[2.5]]), "color": np.array([[""]], object)}
    label, probabilities = session(onnx.load("model.onnx")).run(None, inputs)
    expected = model.predict_proba([[2.5, None]])
    np.testing.assert_allclose(probabilities, expected, rtol=0, atol=1e-6)
    assert label.tolist() == model.predict([[2.5, None]]).tolist()


def whole(z):
    return float(int(z))


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["model.fastopt", "model.pb"], 2, "model.pb: models are written as .onnx."),
        (["other.fastopt", "model.onnx"], 2, "there is no file 'other.fastopt'."),
        (["damaged", "model.onnx"], 2, "damaged"),
        (["own.fastopt", "model.onnx"], 2, "the function whole cannot be exported to ONNX"),
        (["model.fastopt", "no/such/folder/model.onnx"], 1, "No such file or directory"),
    ],
    ids=["suffix", "no file", "damaged", "activation", "folder"],
)
def test_what_is_wrong_is_one_line(arguments, code, said, model, capsys):
    if arguments[0] == "damaged":
        with open("damaged", "wb") as file:
            file.write(b"not a model")
    if arguments[0] == "own.fastopt":
        register_activation("whole", whole, lambda a: 0.0)
        model.activation = "whole"
        fastopt.save(model, "own.fastopt")
    assert cli.main(["export", *arguments]) == code
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("fastopt export: error: ")
    assert said in line
