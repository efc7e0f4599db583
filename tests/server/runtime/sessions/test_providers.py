"""Which providers are asked for and when a session is not what was asked: pure rules, then the real thing."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from model_repo import Execution, Mean, Provider, Repository
from server.errors import LoadError
from server.runtime import LoadedEnsemble, RuntimeOptions, SessionPool
from server.runtime.sessions.providers import CPU, select, shortfall, strict, wanted
from server.runtime.sessions.session import available_providers
from tests.graphs import softmax_linear
from tests.repositories import Spec, opened, publish
from tests.server.runtime.manifests import member

CUDA, TENSORRT = "CUDAExecutionProvider", "TensorrtExecutionProvider"
HERE = (TENSORRT, CUDA, CPU)
W = np.eye(3)


def asked(*names: str) -> tuple[Provider, ...]:
    return tuple(Provider(name=name) for name in names)


def test_the_member_decides_before_the_ensemble_and_the_ensemble_before_the_server() -> None:
    server = RuntimeOptions(cores=1, providers=asked("S"))
    ensemble = Execution(providers=asked("E"))
    assert wanted(member("m", providers=asked("M")), ensemble, server) == asked("M")
    assert wanted(member("m"), ensemble, server) == asked("E")
    assert wanted(member("m"), Execution(), server) == asked("S")
    assert wanted(member("m", providers=()), ensemble, server) == (), "an empty list of its own means the CPU"


@pytest.mark.parametrize("manifest_says", ["strict", "prefer"])
@pytest.mark.parametrize("server_says", ["strict", "prefer"])
def test_either_side_can_make_it_strict(manifest_says: str, server_says: str) -> None:
    execution = Execution(policy=manifest_says)  # type: ignore[arg-type]
    options = RuntimeOptions(cores=1, policy=server_says)  # type: ignore[arg-type]
    assert strict(execution, options) == ("strict" in (manifest_says, server_says))


def test_unknown_providers_are_set_aside_and_the_cpu_comes_last() -> None:
    selection = select(asked("NopeExecutionProvider", TENSORRT), HERE)
    assert [provider.name for provider in selection.providers] == [TENSORRT, CPU]
    assert selection.unknown == ("NopeExecutionProvider",)


def test_the_cpu_is_not_named_twice() -> None:
    assert [p.name for p in select(asked(CPU), HERE).providers] == [CPU]


def test_cuda_gets_options_for_swapping_which_the_manifest_can_override() -> None:
    chosen = select((Provider(name=CUDA, options={"use_tf32": "1", "device_id": "2"}),), HERE).providers[0]
    assert chosen.options == {
        "arena_extend_strategy": "kSameAsRequested",
        "cudnn_conv_algo_search": "HEURISTIC",
        "use_tf32": "1",
        "device_id": "2",
        "tutti_batch_buckets": "powers",
    }


@pytest.mark.parametrize(
    ("first", "actual", "expected"),
    [
        ((), (CPU,), None),
        ((CUDA,), (CUDA, CPU), None),
        ((CUDA,), (CPU,), f"asked for {CUDA}, the session runs on {CPU}: no libcudart"),
        ((TENSORRT, CUDA), (CUDA, CPU), f"asked for {TENSORRT}, the session runs on {CUDA}: no libcudart"),
        (
            ("X",),
            (CPU,),
            f"asked for X, the session runs on {CPU}: this onnxruntime has no X, it has {CPU}, {CUDA}, {TENSORRT}",
        ),
    ],
)
def test_a_shortfall_is_one_sentence(first: tuple[str, ...], actual: tuple[str, ...], expected: str | None) -> None:
    assert shortfall(asked(*first), actual, HERE, "no libcudart") == expected


def load(root: Path, options: RuntimeOptions, pool: SessionPool | None = None) -> LoadedEnsemble:
    return LoadedEnsemble.open(Repository(root).open("tiny", 1), pool or SessionPool(), options)


def without_gpu() -> bool:
    """Whether CUDA cannot be had: onnxruntime lists it wherever its wheel could use it."""
    return CUDA not in available_providers() or opened(softmax_linear(W), providers=asked(CUDA)).providers == (CPU,)


needs_no_gpu = pytest.mark.skipif(not without_gpu(), reason="this machine has a working CUDA")


@needs_no_gpu
def test_prefer_serves_on_the_cpu_and_says_so(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    publish(tmp_path, "tiny", {"cnn": Spec(softmax_linear(W), providers=asked(CUDA)), "rf": softmax_linear(W)})
    ensemble = load(tmp_path, RuntimeOptions(cores=1))
    assert ensemble.providers == {"cnn": (CPU,), "rf": (CPU,)}
    assert list(ensemble.fallbacks) == ["cnn"]
    assert ensemble.fallbacks["cnn"].startswith(f"member 'cnn': asked for {CUDA}, the session runs on {CPU}")
    ensemble.check_golden()
    ensemble.close()
    assert capfd.readouterr() == ("", ""), "onnxruntime's own complaints do not reach the console"


@needs_no_gpu
@pytest.mark.parametrize("names", [(CUDA,), (TENSORRT, CUDA), ("NopeExecutionProvider",), (CUDA, CPU)])
def test_strict_refuses_what_is_not_really_used(tmp_path: Path, names: tuple[str, ...]) -> None:
    execution = Execution(providers=asked(*names), policy="strict")
    publish(tmp_path, "tiny", {"cnn": softmax_linear(W)}, Mean(), execution=execution)
    pool = SessionPool()
    with pytest.raises(LoadError, match=f"member 'cnn': asked for {names[0]}, the session runs on {CPU}") as caught:
        load(tmp_path, RuntimeOptions(cores=1), pool)
    assert caught.value.reason == "provider"
    assert pool.count == 0, "a refused load leaves nothing acquired"


@pytest.mark.skipif(CUDA not in available_providers() or not without_gpu(), reason="needs the GPU wheel and no GPU")
def test_the_reason_that_the_loader_gives_is_part_of_the_error(tmp_path: Path) -> None:
    publish(tmp_path, "tiny", {"cnn": softmax_linear(W)})
    with pytest.raises(LoadError, match="cannot open shared object file"):
        load(tmp_path, RuntimeOptions(cores=1, providers=asked(CUDA), policy="strict"))


def test_an_unknown_provider_names_those_there_are(tmp_path: Path) -> None:
    publish(tmp_path, "tiny", {"cnn": softmax_linear(W)})
    ensemble = load(tmp_path, RuntimeOptions(cores=1, providers=asked("NopeExecutionProvider")))
    assert "this onnxruntime has no NopeExecutionProvider, it has " in ensemble.fallbacks["cnn"]
    assert CPU in ensemble.fallbacks["cnn"]
    ensemble.close()
