"""The page on tracking with all its code, also that which needs MLflow and optuna-integration."""

import importlib.util
from pathlib import Path

import matplotlib as mpl
import pytest

ROOT = Path(__file__).parents[2]
if not (ROOT / "docs").exists():
    pytest.skip("an installation without its documentation", allow_module_level=True)
_SPEC = importlib.util.spec_from_file_location("code_blocks", ROOT / "docs" / "code_blocks.py")
code_blocks = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(code_blocks)


@pytest.mark.filterwarnings("ignore")
def test_every_block_of_the_page_runs(autolog, mlflow):
    search = pytest.importorskip("optuna_integration")
    mpl.use("Agg")
    page = ROOT / "docs" / "tracking.md"
    session = {"__name__": "page"}
    exec(compile(code_blocks.python(page, is_run=False), str(page), "exec"), session)
    found = session["search"]
    assert isinstance(found, search.OptunaSearchCV)
    assert found.best_estimator_.n_iter_ == 20
    assert max(len(trial.intermediate_values) for trial in found.trials_) == 20
    parents = [
        run for run in mlflow.search_runs(output_format="list") if "mlflow.parentRunId" not in run.data.tags
    ]
    assert {"loss", "val_loss", "lr"} <= {name for run in parents for name in run.data.metrics}
