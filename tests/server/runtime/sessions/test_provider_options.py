"""The server's own provider options: what they mean, which contradict each other, where they end."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from model_repo import Execution, Provider
from server.errors import LoadError
from server.runtime import RuntimeOptions, SessionPool
from server.runtime.sessions.batch_buckets import Buckets
from server.runtime.sessions.io_binding import runner
from server.runtime.sessions.provider_options import PLAIN, Device, Tuning, chosen, native, tuning
from server.runtime.sessions.providers import CPU, select
from server.runtime.sessions.session import SessionError
from tests.graphs import softmax_linear
from tests.repositories import opened, publish
from tests.server.runtime.loading import load

CUDA, TENSORRT = "CUDAExecutionProvider", "TensorrtExecutionProvider"
POWERS = Buckets()
W = np.eye(3)


@pytest.mark.parametrize(
    ("name", "options", "expected"),
    [
        (CPU, {}, PLAIN),
        (CUDA, {"device_id": "1"}, PLAIN),
        (CUDA, {"tutti_batch_buckets": "off"}, PLAIN),
        (CUDA, {"tutti_batch_buckets": "1, 8,64"}, Tuning(Buckets((1, 8, 64)))),
        (CUDA, {"tutti_batch_buckets": "powers", "tutti_io_binding": "0"}, Tuning(POWERS)),
        (CPU, {"tutti_batch_buckets": "powers", "tutti_io_binding": "1"}, Tuning(POWERS, Device("cpu"))),
        (
            TENSORRT,
            {"tutti_batch_buckets": "powers", "tutti_io_binding": "true", "device_id": "3"},
            Tuning(POWERS, Device("cuda", 3)),
        ),
        (
            CUDA,
            {"tutti_batch_buckets": "powers", "enable_cuda_graph": "1"},
            Tuning(POWERS, Device("cuda", 0, graphs=True)),
        ),
        (
            TENSORRT,
            {"tutti_batch_buckets": "4", "trt_cuda_graph_enable": "True"},
            Tuning(Buckets((4,)), Device("cuda", 0, graphs=True)),
        ),
        (CUDA, {"tutti_batch_buckets": "powers", "enable_cuda_graph": "0"}, Tuning(POWERS)),
    ],
)
def test_options_say_how_runs_are_made(name: str, options: dict[str, str], expected: Tuning) -> None:
    assert tuning(Provider(name=name, options=options)) == expected


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        (CUDA, {"tutti_batch_buckets": "8,1"}, "'tutti_batch_buckets' is '8,1'; expected 'off', 'powers' or ascending"),
        (CUDA, {"tutti_batch_buckets": ""}, "'tutti_batch_buckets' is ''"),
        (CUDA, {"tutti_io_binding": "yes"}, "'tutti_io_binding' is 'yes'; expected '0' or '1'"),
        (CUDA, {"tutti_bucket": "1"}, "unknown option 'tutti_bucket'; there are 'tutti_batch_buckets' and"),
        (CUDA, {"tutti_io_binding": "1"}, "'tutti_io_binding' needs 'tutti_batch_buckets', which is 'off'"),
        (CUDA, {"enable_cuda_graph": "1"}, "'enable_cuda_graph' needs 'tutti_batch_buckets', which is 'off'"),
        (CUDA, {"enable_cuda_graph": "1", "tutti_io_binding": "0"}, "'enable_cuda_graph' needs 'tutti_io_binding'"),
        (
            "OpenVINOExecutionProvider",
            {"tutti_io_binding": "1", "tutti_batch_buckets": "powers"},
            "'tutti_io_binding' is for .*CUDAExecutionProvider.*, not for OpenVINOExecutionProvider",
        ),
        (
            CUDA,
            {"tutti_io_binding": "1", "tutti_batch_buckets": "4", "device_id": "first"},
            "'device_id' is 'first'; expected a number",
        ),
    ],
)
def test_options_that_cannot_be_used_are_named(name: str, options: dict[str, str], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        native(Provider(name=name, options=options))


def test_onnxruntime_is_given_only_its_own_options() -> None:
    asked = Provider(name=CUDA, options={"tutti_batch_buckets": "4", "tutti_io_binding": "1", "device_id": "0"})
    assert native(asked) == {"device_id": "0"}


def test_the_provider_that_really_runs_decides() -> None:
    """Asked for CUDA and fallen back to the CPU: no padding there, where it only costs."""
    selected = select((Provider(name=TENSORRT), Provider(name=CUDA)), (TENSORRT, CUDA, CPU)).providers
    assert chosen(selected, CUDA) == Tuning(POWERS)
    assert chosen(selected, TENSORRT) == Tuning(POWERS)
    assert chosen(selected, CPU) == PLAIN


def test_a_plain_session_runs_on_the_handles_own_run() -> None:
    class Handle:
        """Has nothing but a run."""

        run = object()

    assert runner(Handle(), PLAIN) is Handle.run, "nothing may stand in the way of a CPU's runs"


def test_an_option_that_cannot_be_used_is_told_when_the_session_is_opened() -> None:
    asked = (Provider(name=CPU, options={"tutti_batch_buckets": "few"}),)
    with pytest.raises(SessionError, match="option 'tutti_batch_buckets' is 'few'; expected"):
        opened(softmax_linear(W), providers=asked)


def test_a_version_with_such_an_option_is_refused(tmp_path: Path, pool: SessionPool) -> None:
    execution = Execution(providers=(Provider(name=CPU, options={"tutti_io_binding": "1"}),))
    publish(tmp_path, "tiny", {"cnn": softmax_linear(W)}, execution=execution)
    with pytest.raises(LoadError, match="member 'cnn' cannot be loaded: option 'tutti_io_binding' needs") as caught:
        load(tmp_path, pool, RuntimeOptions(cores=1))
    assert caught.value.reason == "session"
