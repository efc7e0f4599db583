"""`tritonclient[http]`, unchanged, in every call it has that applies."""

from __future__ import annotations

import json
from collections.abc import Iterator
from time import monotonic
from typing import Any

import numpy as np
import pytest
import tritonclient.http as triton
from tritonclient.utils import InferenceServerException

from tests.server.http.running import TOKEN, Running, Way, running
from tests.server.http.standin import DATATYPES, DIGITS, Manager, all_servables, softmax_model

AUTHORIZED = {"Authorization": f"Bearer {TOKEN}"}
ROWS = np.random.default_rng(3).random((5, 8, 8)).astype(np.float32)


@pytest.fixture
def client(served: Running) -> Iterator[Any]:
    with triton.InferenceServerClient(served.address) as connected:
        yield connected


def image(rows: Any = ROWS, *, binary: bool = True) -> Any:
    given = triton.InferInput("image", list(rows.shape), "FP32")
    return given.set_data_from_numpy(rows, binary_data=binary)


def expected(version: int = 2) -> dict[str, Any]:
    return softmax_model({"image": ROWS}, version)


@pytest.mark.parametrize("binary", [True, False], ids=["binary", "JSON"])
def test_missing_numbers_go_there_and_back(client: Any, binary: bool) -> None:
    rows = np.array([[1.5, np.nan, 2], [np.nan, 0, -1]], np.float32)
    ones = np.array([[np.nan], [3]], np.float32)
    given = []
    for name, array in (("x", rows), ("one", ones)):
        one = triton.InferInput(name, list(array.shape), "FP32")
        given.append(one.set_data_from_numpy(array, binary_data=binary))
    wanted = [triton.InferRequestedOutput(name, binary_data=binary) for name in ("y", "z")]
    answer = client.infer("gaps-FP32", given, outputs=wanted)
    np.testing.assert_array_equal(answer.as_numpy("y"), rows)
    np.testing.assert_array_equal(answer.as_numpy("z"), ones)


def test_server_is_live_and_ready(client: Any) -> None:
    assert client.is_server_live()
    assert client.is_server_ready()


def test_model_readiness_is_by_name_and_version(client: Any) -> None:
    assert client.is_model_ready("digits")
    assert client.is_model_ready("digits", "1")
    assert not client.is_model_ready("digits", "9")
    assert not client.is_model_ready("nobody")


def test_server_metadata_names_the_extensions(client: Any) -> None:
    metadata = client.get_server_metadata()
    assert metadata["name"] == "tutti"
    assert "binary_tensor_data" in metadata["extensions"]


def test_model_metadata_has_inputs_and_outputs(client: Any) -> None:
    metadata = client.get_model_metadata("digits", "1")
    assert metadata["versions"] == ["1", "2"]
    assert metadata["inputs"] == [{"name": "image", "datatype": "FP32", "shape": [-1, 8, 8]}]
    assert {"name": "label", "datatype": "BYTES", "shape": [-1]} in metadata["outputs"]
    assert metadata["ensemble"]["members"][0]["providers"] == ["CPUExecutionProvider"]


def test_model_config_is_triton_shaped(client: Any) -> None:
    config = client.get_model_config("digits")
    assert config["max_batch_size"] == 64
    assert config["input"] == [{"name": "image", "data_type": "TYPE_FP32", "dims": [8, 8]}]
    label = next(output for output in config["output"] if output["name"] == "label")
    assert label == {"name": "label", "data_type": "TYPE_STRING", "dims": [1], "reshape": {"shape": []}}


def test_repository_index_lists_each_version(client: Any) -> None:
    index = client.get_model_repository_index()
    assert {"name": "digits", "version": "2", "state": "READY", "reason": ""} in index


def test_statistics_are_by_model_and_version(client: Any) -> None:
    client.infer("digits", [image()], "1")
    (one,) = client.get_inference_statistics("digits", "1")["model_stats"]
    assert one["inference_count"] >= 5
    assert one["inference_stats"]["queue"].keys() == {"count", "ns"}
    assert len(client.get_inference_statistics("digits")["model_stats"]) == 2
    assert len(client.get_inference_statistics()["model_stats"]) == len(all_servables())


@pytest.mark.parametrize("binary_in", [True, False])
@pytest.mark.parametrize("binary_out", [True, False])
def test_infer_in_json_and_binary_gives_the_same_bits(client: Any, binary_in: bool, binary_out: bool) -> None:
    outputs = [
        triton.InferRequestedOutput("probabilities", binary_data=binary_out),
        triton.InferRequestedOutput("label", binary_data=binary_out),
        triton.InferRequestedOutput("members", binary_data=binary_out),
    ]
    result = client.infer("digits", [image(binary=binary_in)], outputs=outputs)
    assert np.array_equal(result.as_numpy("probabilities"), expected()["probabilities"])
    assert result.as_numpy("members").shape == (5, 1, 10)
    labels = [name.decode() if isinstance(name, bytes) else name for name in result.as_numpy("label")]
    assert labels == list(expected()["label"])


def test_without_outputs_the_default_ones_come_in_binary(client: Any) -> None:
    response = client.infer("digits", [image()]).get_response()
    assert [output["name"] for output in response["outputs"]] == ["probabilities", "label"]
    assert all("binary_data_size" in output["parameters"] for output in response["outputs"])
    assert response["model_name"] == "digits"
    assert response["model_version"] == "2"
    assert "id" not in response


def test_a_version_answers_for_itself(client: Any) -> None:
    result = client.infer("digits", [image()], "1")
    assert result.get_response()["model_version"] == "1"
    assert np.array_equal(result.as_numpy("probabilities"), expected(1)["probabilities"])


def test_the_request_id_comes_back(client: Any) -> None:
    assert client.infer("digits", [image()], request_id="näher 7").get_response()["id"] == "näher 7"


def test_many_requests_at_once_get_their_own_answers(served: Running) -> None:
    with triton.InferenceServerClient(served.address, concurrency=4) as client:
        pending = [client.async_infer("digits", [image(ROWS[i % 5 : i % 5 + 1])], request_id=str(i)) for i in range(20)]
        for number, handle in enumerate(pending):
            result = handle.get_result()
            assert result.get_response()["id"] == str(number)
            row = expected()["probabilities"][number % 5]
            assert np.allclose(result.as_numpy("probabilities")[0], row, rtol=0, atol=1e-6)


@pytest.mark.parametrize("algorithm", ["gzip", "deflate"])
@pytest.mark.parametrize("binary", [True, False])
def test_compression_works_both_ways(client: Any, algorithm: str, binary: bool) -> None:
    rows = np.repeat(ROWS, 20, axis=0)
    result = client.infer(
        "digits",
        [image(rows, binary=binary)],
        outputs=[triton.InferRequestedOutput("probabilities", binary_data=binary)],
        request_compression_algorithm=algorithm,
        response_compression_algorithm=algorithm,
    )
    assert np.allclose(result.as_numpy("probabilities")[:1], expected()["probabilities"][:1], rtol=0, atol=1e-6)
    assert result.as_numpy("probabilities").shape == (100, 10)


@pytest.mark.parametrize("binary", [True, False])
def test_class_count_gives_the_best_classes_with_their_labels(client: Any, binary: bool) -> None:
    wanted = triton.InferRequestedOutput("probabilities", binary_data=binary, class_count=3)
    strings = client.infer("digits", [image()], outputs=[wanted]).as_numpy("probabilities")
    assert strings.shape == (5, 3)
    row = expected()["probabilities"][0]
    best = np.argsort(-row, kind="stable")[:3]
    for text, index in zip(strings[0], best, strict=True):
        value, place, label = (text.decode() if isinstance(text, bytes) else text).split(":")
        assert np.float32(value) == row[index]
        assert (int(place), label) == (index, DIGITS[index])


@pytest.mark.parametrize("datatype", DATATYPES)
@pytest.mark.parametrize("binary", [True, False])
def test_every_datatype_comes_back(client: Any, datatype: str, binary: bool) -> None:
    if datatype == "BYTES":
        values: Any = np.array([["a", "größer"], ["", "null\0byte"]], object)
    elif datatype == "BOOL":
        values = np.array([[True, False], [False, True]])
    else:
        dtype = np.dtype(
            {"F": "float"}.get(datatype[0], datatype.lower()) + (datatype[2:] if datatype[0] == "F" else "")
        )
        values = np.array([[0, 1], [2, 100]], dtype)
    given = triton.InferInput("x", [2, 2], datatype).set_data_from_numpy(values, binary_data=binary)
    wanted = triton.InferRequestedOutput("y", binary_data=binary)
    back = client.infer(f"echo-{datatype}", [given], outputs=[wanted]).as_numpy("y")
    if datatype == "BYTES":
        back = np.vectorize(lambda text: text.decode() if isinstance(text, bytes) else text, otypes=[object])(back)
    assert back.dtype == values.dtype
    assert back.tolist() == values.tolist()


def test_a_timeout_in_microseconds_is_taken(client: Any, served: Running) -> None:
    client.infer("pair", pair_inputs(), timeout=2_000_000)
    entry = served.manager.route("pair").entries[-1]
    left = entry.deadline - monotonic()
    assert 0 < left <= 2.0
    client.infer("pair", pair_inputs())
    entry = served.manager.route("pair").entries[-1]
    assert 2.0 < entry.deadline - monotonic() <= 5.0


def pair_inputs() -> list[Any]:
    a = triton.InferInput("a", [1, 3], "FP32").set_data_from_numpy(np.ones((1, 3), np.float32))
    b = triton.InferInput("b", [1], "INT64").set_data_from_numpy(np.ones(1, np.int64))
    return [b, a]


def test_inputs_in_another_order_reach_the_ensemble_in_its_own(client: Any, served: Running) -> None:
    assert client.infer("pair", pair_inputs()).as_numpy("value").tolist() == [4.0]
    assert list(served.manager.route("pair").entries[-1].feeds) == ["a", "b"]


def test_priority_and_custom_parameters_are_passed_over(client: Any) -> None:
    client.infer("digits", [image()], priority=1, sequence_id=7, parameters={"mine": "yes"})


def test_500_rows_in_one_request(client: Any) -> None:
    rows = np.repeat(ROWS, 100, axis=0)
    assert client.infer("digits", [image(rows, binary=False)]).as_numpy("probabilities").shape == (500, 10)


def test_a_wrong_shape_is_an_error_that_names_the_field(client: Any) -> None:
    with pytest.raises(InferenceServerException, match=r"inputs\[0\]\.shape: \[5, 64\] given") as raised:
        client.infer("digits", [image(ROWS.reshape(5, 64))])
    assert raised.value.status() == "422"


def test_unknown_names_are_404(client: Any) -> None:
    for call in (client.get_model_metadata, client.get_model_config, client.get_inference_statistics):
        with pytest.raises(InferenceServerException, match="unknown ensemble 'nobody'") as raised:
            call("nobody")
        assert raised.value.status() == "404"
    with pytest.raises(InferenceServerException, match="does not serve version 9"):
        client.infer("digits", [image()], "9")


@pytest.mark.parametrize(
    "call",
    [
        lambda client: client.get_system_shared_memory_status(),
        lambda client: client.register_system_shared_memory("r", "/key", 8),
        lambda client: client.unregister_system_shared_memory(),
        lambda client: client.unregister_system_shared_memory("r"),
        lambda client: client.get_cuda_shared_memory_status("r"),
        lambda client: client.register_cuda_shared_memory("r", "aGk=", 0, 8),
        lambda client: client.unregister_cuda_shared_memory("r"),
        lambda client: client.get_trace_settings(),
        lambda client: client.get_trace_settings("digits"),
        lambda client: client.update_trace_settings(settings={"trace_level": ["OFF"]}),
        lambda client: client.update_trace_settings("digits", settings={"trace_level": ["OFF"]}),
        lambda client: client.get_log_settings(),
        lambda client: client.update_log_settings({"log_info": True}),
    ],
)
def test_what_is_not_offered_says_so(client: Any, call: Any) -> None:
    with pytest.raises(InferenceServerException, match="not offered") as raised:
        call(client)
    assert raised.value.status() == "404"


def test_shared_memory_tensors_are_refused_by_their_field(client: Any) -> None:
    given = triton.InferInput("image", [1, 8, 8], "FP32").set_shared_memory("region", 256)
    with pytest.raises(InferenceServerException, match=r"inputs\[0\].*shared memory is not offered"):
        client.infer("digits", [given])


@pytest.mark.parametrize("way", ["litestar", "short"])
def test_load_and_unload_need_the_token(way: Way) -> None:
    with running(way, Manager(*all_servables())) as served, triton.InferenceServerClient(served.address) as client:
        with pytest.raises(InferenceServerException, match="need the header") as raised:
            client.unload_model("digits")
        assert raised.value.status() == "403"
        client.unload_model("digits", headers=AUTHORIZED, unload_dependents=True)
        assert not client.is_model_ready("digits")
        with pytest.raises(InferenceServerException, match="was unloaded") as raised:
            client.infer("digits", [image()])
        assert raised.value.status() == "503"
        client.load_model("digits", headers=AUTHORIZED)
        assert client.is_model_ready("digits")


def test_loading_what_is_not_there_or_broken_says_why() -> None:
    manager = Manager(*all_servables())
    manager.broken["bad"] = "members/cnn.onnx in /srv/models/bad/1/members/cnn.onnx: sha256 differs"
    with running(manager=manager) as served, triton.InferenceServerClient(served.address) as client:
        with pytest.raises(InferenceServerException, match="unknown ensemble 'nobody'") as raised:
            client.load_model("nobody", headers=AUTHORIZED)
        assert raised.value.status() == "404"
        with pytest.raises(InferenceServerException, match="sha256 differs") as raised:
            client.load_model("bad", headers=AUTHORIZED)
        assert raised.value.status() == "409"
        assert "/srv" not in raised.value.message()
        assert "/srv" not in json.dumps(client.get_model_repository_index())
        with pytest.raises(InferenceServerException, match="publish another version") as raised:
            client.load_model("digits", headers=AUTHORIZED, config="{}")
        assert raised.value.status() == "400"
