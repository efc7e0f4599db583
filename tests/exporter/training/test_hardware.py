"""Devices, precisions and compilation that a call asks for: refused in one line where they are not there."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from exporter.errors import ExportError
from exporter.optimisation.spec import DataParallel, Mode, Parallel, ParameterServer
from exporter.recipe.options import Options
from exporter.training.engines.hardware import can_compile, require_hardware


@pytest.mark.parametrize(
    ("asked", "technique", "told"),
    [
        (
            {"device": "cuda"},
            Parallel(),
            r"--device cuda: torch .* sees no GPU, expected one; --device cpu trains here",
        ),
        ({"device": "mps"}, Parallel(), r"--device mps: Apple's GPUs are found on macOS, this is Linux; --device cpu"),
        ({"device": "xla"}, Parallel(), r"--device xla: the package 'torch_xla' is not installed, expected"),
        (
            {"precision": "fp16"},
            ParameterServer(),
            r"--precision fp16: .*'parameter_server'.*expected --precision bf16",
        ),
        ({"compile": True}, DataParallel(), r"--compile: .*'data_parallel'.*expected mode 'parallel'"),
    ],
)
def test_what_is_not_there_is_one_line(asked: dict[str, Any], technique: Mode, told: str) -> None:
    import torch

    if asked.get("device") == "cuda" and torch.cuda.is_available():
        pytest.skip("there is a GPU")
    with pytest.raises(ExportError, match=told) as caught:
        require_hardware(Options(Path("models"), **asked), technique)
    assert "\n" not in str(caught.value)


def test_the_cpu_takes_every_precision() -> None:
    for precision in ("float32", "bf16", "fp16"):
        require_hardware(Options(Path("models"), precision=precision), DataParallel())


def test_without_a_compiler_it_is_told_and_nothing_is_compiled(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    import torch

    def refused(_: object) -> None:
        raise RuntimeError("Failed to find C++ compiler. Please specify via CXX environment variable.\nmore")

    monkeypatch.setattr(torch, "compile", refused)
    assert not can_compile("cpu")
    assert capsys.readouterr().err == (
        "tutti export: --compile: torch.compile does not work here (Failed to find C++ compiler. Please specify via "
        "CXX environment variable.); not compiled\n"
    )
