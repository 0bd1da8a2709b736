"""The file of ``fit``: a model of `fastopt.save` that also says how its table was read."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..datasets.model_tables import TableForm
from ..model_files.objects import load_objects, naming, save_objects
from ..persistence import PersistentModel

if TYPE_CHECKING:
    from pathlib import Path


def save_model(model: Any, form: TableForm, path: Path) -> None:
    """Write a model and the form of its table; `fastopt.load` reads the model of the file, too.

    Raises
    ------
    OSError
        If the disk refuses; a file that existed is unchanged.
    """
    save_objects(path, {"model": model.for_file(), "table": form.as_dict()}, "model")


def load_model(path: Path) -> tuple[Any, TableForm]:
    """Return the model of a file and the form of its table. Executes nothing of the file.

    Raises
    ------
    ValueError
        If the file is damaged, of another origin or version, or of a model without a table. The message
        names the file.
    """
    saved = load_objects(path, "model")
    with naming(path):
        if "table" not in saved or not isinstance(saved.get("model"), PersistentModel):
            raise ValueError(
                "it holds a model that was not fitted by fastopt fit, and does not say how to read a table: "
                "load it in Python, with fastopt.load"
            )
        model, form = saved["model"], TableForm.from_dict(saved["table"])
        if list(getattr(model, "feature_names_in_", ())) != list(form.kinds):
            raise ValueError(f"its model does not read the columns {[*form.kinds]}")
        return model, form
