"""Tests marked `gpu` are skipped, with the reason, where CUDA cannot be used; fixtures of the command line's tests."""

import os
from pathlib import Path

import pytest

from fastgan.device import cuda_problem

pytest.register_assert_rewrite("cli_helpers", "checkpoint_helpers")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    marked = [item for item in items if item.get_closest_marker("gpu")]
    reason = cuda_problem() if marked else None
    if reason:
        for item in marked:
            item.add_marker(pytest.mark.skip(reason=reason))


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An empty folder to work in, without most of a short run's time: curves of losses, and waiting for the disk."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(os, "fsync", lambda _: None)
    monkeypatch.setattr("fastgan.gan.pictures.loss_curves", lambda path, _: path.write_bytes(b"curves"))


@pytest.fixture
def run(here: None, capsys: pytest.CaptureFixture[str]) -> Path:
    """A small finished run."""
    from cli_helpers import TINY, ok

    ok(capsys, "train", "--steps", 4, *TINY, "--checkpoint-every", 2, "--out", "run")
    return Path("run")


@pytest.fixture
def undrawn(monkeypatch: pytest.MonkeyPatch) -> None:
    """Curves and scatters are blank: drawing them is most of a short run's time, and test_pictures.py looks at them."""
    from PIL import Image

    from fastgan.gan import pictures

    monkeypatch.setattr(pictures, "loss_curves", lambda path, rows: path.touch())
    monkeypatch.setattr(pictures, "scatter", lambda *_, **__: Image.new("RGB", (480, 480)))
