"""``info``, ``warmup`` and ``bench``: the commands about the machine."""

from fastopt import cli


def test_info_names_versions_threads_layer_devices_and_cache(capsys):
    assert cli.main(["info"]) == 0
    out = capsys.readouterr().out
    for needed in (
        "fastopt",
        "numba",
        "scikit-learn",
        "extra [files]",
        "threading layer",
        "threads in use",
        "cpu",
        "cuda",
        "folder",
    ):
        assert needed in out


def test_warmup_says_what_is_ready(capsys):
    assert cli.main(["warmup", "--dtypes", "float32"]) == 0
    assert "optimizers are ready for float32" in capsys.readouterr().out


def test_bench_prints_bandwidth_and_the_ratio_to_scikit_learn(capsys, monkeypatch):
    monkeypatch.setattr(cli.bench, "_SIZES", (1000,))
    monkeypatch.setattr(cli.bench, "_FITS", (("tiny", 64, 4, (4,), 16),))
    assert cli.main(["bench", "--repeats", "3"]) == 0
    out = capsys.readouterr().out
    assert "GB/s" in out
    assert "times as fast" in out
