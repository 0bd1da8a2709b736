"""What a store of MLflow holds, read back."""


def runs(mlflow):
    """Return the runs of the present experiment, the earliest first."""
    return mlflow.search_runs(output_format="list", order_by=["start_time"])


def metric(mlflow, run, name):
    """Return the values of a metric by step, and fail if a step has several."""
    history = mlflow.MlflowClient().get_metric_history(run.info.run_id, name)
    assert len({point.step for point in history}) == len(history), f"{name} has a step twice"
    return {point.step: point.value for point in history}


def models(mlflow):
    """Return the logged models of the present experiment."""
    experiment = mlflow.tracking.fluent._get_experiment_id()
    return mlflow.search_logged_models(experiment_ids=[experiment], output_format="list")
