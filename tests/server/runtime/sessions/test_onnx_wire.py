"""Large ONNX files are handled by their wire format: nothing changes what they compute, and nobody waits for them."""

from __future__ import annotations

import mmap
import threading
from collections.abc import Callable
from time import perf_counter, sleep

import numpy as np
import pytest
from onnx import ModelProto, TensorProto, helper, numpy_helper

from server.runtime.plans.merge import Part, inlined, merge
from server.runtime.sessions.external_weights import ModelError, locations, parse
from server.runtime.sessions.onnx_wire import CUT_FROM_BYTES, OWN, SPLIT_FROM_BYTES, WireError, bare, split
from server.runtime.sessions.session import Model, SessionError, takes_buffers
from tests.repositories import opened

WIDE = 600
"""A square matrix of it has 1.4 MB."""
RANDOM = np.random.default_rng(0)
X = RANDOM.normal(size=(3, 4)).astype(np.float32)
PAUSE_S = 0.13
"""A loaded machine may keep a thread waiting for tens of milliseconds; each fault was twice this and more."""


def deep(layers: int = 1, seed: int = 0, opset: int = 17) -> bytes:
    """`x [n, 4] → y [n, 3]`, over `layers` square matrices; names say "location", which nothing must look for."""
    random = np.random.default_rng(seed)
    names = ["location_in", *(f"location_{k}" for k in range(layers)), "location_out"]
    shapes = [(4, WIDE), *[(WIDE, WIDE)] * layers, (WIDE, 3)]
    values = {shape: (random.normal(size=shape) / shape[0]).astype(np.float32) for shape in set(shapes)}
    weights = [numpy_helper.from_array(values[shape], name) for name, shape in zip(names, shapes, strict=True)]
    nodes, value = [], "x"
    for name in names:
        nodes.append(helper.make_node("MatMul", [value, name], [f"{name}_y"]))
        value = f"{name}_y"
    nodes.append(helper.make_node("Softmax", [value], ["y"], axis=-1))
    graph = helper.make_graph(
        nodes, "g", [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 4])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 3])], weights,
    )  # fmt: skip
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)
    data: bytes = model.SerializeToString()
    return data


def in_memory(data: bytes) -> memoryview:
    memory = memoryview(mmap.mmap(-1, len(data)))
    memory[:] = data
    return memory.toreadonly()


def external(tensor: TensorProto, location: str) -> TensorProto:
    """The tensor as one whose content is in another file."""
    moved = TensorProto()
    moved.CopyFrom(tensor)
    moved.ClearField("raw_data")
    moved.data_location = TensorProto.EXTERNAL
    moved.external_data.add(key="location", value=location)
    return moved


def longest_stop(work: Callable[[], object]) -> float:
    """Seconds for which another thread could not run at a time while `work` did."""
    for _ in range(3):  # what a busy machine did is not done again
        if (stop := _longest_stop(work)) < PAUSE_S:
            break
    return stop


def _longest_stop(work: Callable[[], object]) -> float:
    gaps: list[float] = []
    done = threading.Event()

    def tick() -> None:
        last = perf_counter()
        while not (gaps and done.is_set()):
            sleep(0.001)
            now = perf_counter()
            gaps.append(now - last)
            last = now

    thread = threading.Thread(target=tick)
    thread.start()
    try:
        work()
    finally:
        done.set()
        thread.join()
    return max(gaps)


def test_a_split_model_gives_the_same_bits() -> None:
    data = deep()
    rest = split(data)
    assert rest is not None
    assert len(rest) < 4 * CUT_FROM_BYTES
    model = Model.of(in_memory(data))
    assert (model.data, set(model.external), model.bytes) == (rest, {OWN}, len(data))
    np.testing.assert_array_equal(opened(model).run(["y"], {"x": X})[0], opened(data).run(["y"], {"x": X})[0])


def test_small_models_and_those_without_large_weights_stay_whole() -> None:
    small = deep(layers=0)
    assert len(small) < SPLIT_FROM_BYTES
    assert Model.of(small) == Model(small)
    assert split(b"") is None


def test_tensors_that_are_external_already_stay_as_they_are() -> None:
    model = ModelProto.FromString(deep())
    first = model.graph.initializer[0]
    content = first.raw_data
    first.CopyFrom(external(first, "beside.data"))
    data = model.SerializeToString()
    assert locations(data) == {"beside.data"}
    read = Model.of(in_memory(data), {"beside.data": content})
    assert set(read.external) == {OWN, "beside.data"}
    np.testing.assert_array_equal(opened(read).run(["y"], {"x": X})[0], opened(deep()).run(["y"], {"x": X})[0])


def test_large_models_say_their_external_files_wherever_a_tensor_is() -> None:
    model = ModelProto.FromString(deep(layers=2))
    hidden = external(model.graph.initializer[0], "hidden.data")
    body = helper.make_graph([helper.make_node("Constant", [], ["c"], value=hidden)], "body", [], [])
    weights = numpy_helper.from_array(np.zeros(SPLIT_FROM_BYTES, np.float32), "w")
    body.initializer.append(weights)
    model.graph.node.append(helper.make_node("If", ["y"], ["d"], then_branch=body, else_branch=body))
    table = helper.make_node("Trees", ["x"], ["t"], domain="ai.onnx.ml", ids=list(range(300_000)),
                             values=[0.5] * 300_000, names=["location"] * 30_000)  # fmt: skip
    table.attribute.append(helper.make_attribute("last", external(model.graph.initializer[0], "behind.data")))
    model.graph.node.append(table)
    data = model.SerializeToString()
    rest = bare(data)
    assert len(rest) < 30 * CUT_FROM_BYTES < len(data) / 10
    assert locations(in_memory(data)) == {"hidden.data", "behind.data"}
    names = [node.op_type for node in parse(rest).graph.node]
    assert names == [node.op_type for node in model.graph.node]


def test_a_tensor_with_two_locations_names_both() -> None:
    model = ModelProto.FromString(deep(layers=0))
    first = external(model.graph.initializer[0], "one.data")
    first.external_data.add(key="location", value="two.data")
    model.graph.initializer[0].CopyFrom(first)
    assert locations(model.SerializeToString()) == {"one.data", "two.data"}


@pytest.mark.parametrize("length", [100_000, SPLIT_FROM_BYTES + 7, -1])
def test_a_torn_file_is_no_onnx_file(length: int) -> None:
    torn = deep(layers=2)[:length]
    with pytest.raises(WireError):
        bare(torn)
    if len(torn) >= SPLIT_FROM_BYTES:
        with pytest.raises(ModelError, match="is no ONNX file"):
            locations(torn)
        with pytest.raises(SessionError, match="is no ONNX file"):
            Model.of(torn)


def test_random_bytes_are_refused_or_read_and_never_end_in_anything_else() -> None:
    for seed in range(300):
        random = np.random.default_rng(seed)
        data = random.integers(0, 256, int(random.integers(1, 400)), np.uint8).tobytes()
        for read in (bare, split):
            try:
                read(data)
            except WireError:
                continue


def test_messages_nested_beyond_the_limit_are_refused() -> None:
    data = bytes(2 * CUT_FROM_BYTES)
    for _ in range(60):
        attribute = b"\x32" + _length(data) + data  # a graph in an attribute, in a node, in a graph …
        node = b"\x2a" + _length(attribute) + attribute
        data = b"\x0a" + _length(node) + node
    with pytest.raises(WireError, match="nested too deeply"):
        bare(b"\x3a" + _length(data) + data)


def test_large_members_are_merged_without_their_weights_and_equal_ones_once() -> None:
    one, other = deep(seed=1), deep(seed=1, opset=17)
    parts = [Part("one", Model.of(in_memory(one)), {"x": "x"}, "y"),
             Part("other", Model.of(in_memory(other)), {"x": "x"}, "y"),
             Part("third", Model.of(in_memory(deep(seed=2))), {"x": "x"}, "y")]  # fmt: skip
    merged = merge(parts)
    assert len(merged.data) < 10 * CUT_FROM_BYTES
    graph = ModelProto.FromString(bytes(merged.data)).graph
    assert len(graph.initializer) == 2 * 3
    session = opened(merged)
    given = session.run([entry.name for entry in session.outputs], {"x": X})
    for data, values in zip((one, other, deep(seed=2)), given, strict=True):
        np.testing.assert_allclose(values, opened(data).run(["y"], {"x": X})[0], rtol=1e-6, atol=1e-7)


def test_providers_that_compile_files_get_the_weights_inside() -> None:
    assert takes_buffers(["CUDAExecutionProvider", "CPUExecutionProvider"])
    assert not takes_buffers(["TensorrtExecutionProvider", "CPUExecutionProvider"])
    memory = in_memory(deep())
    assert Model.of(memory, {"beside": b"x"}).whole() == Model(memory, {"beside": b"x"})
    parts = [Part(f"m{k}", Model.of(in_memory(deep(seed=k))), {"x": "x"}, "y") for k in range(2)]
    merged = merge(parts)
    whole = inlined(merged)
    assert (len(whole.data) > 2 * SPLIT_FROM_BYTES, whole.external) == (True, {})
    names = [entry.name for entry in opened(whole).outputs]
    for one, other in zip(opened(whole).run(names, {"x": X}), opened(merged).run(names, {"x": X}), strict=True):
        np.testing.assert_array_equal(one, other)


def test_without_files_in_memory_large_models_are_given_as_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr("os.memfd_create")
    np.testing.assert_array_equal(opened(deep()).run(["y"], {"x": X})[0].shape, (3, 3))


def test_other_threads_run_while_a_large_model_is_looked_at_and_loaded() -> None:
    memory = in_memory(deep(layers=200))  # 288 MB
    models: list[Model] = []
    assert longest_stop(lambda: locations(memory)) < PAUSE_S
    assert longest_stop(lambda: models.append(Model.of(memory))) < PAUSE_S
    assert longest_stop(lambda: opened(models[0])) < PAUSE_S


def test_other_threads_run_while_a_large_model_without_weights_is_loaded() -> None:
    """As of trees: the tables are attributes and cannot be taken out."""
    model = ModelProto.FromString(deep(layers=0))
    weights = numpy_helper.from_array(np.zeros(70_000_000, np.float32), "location")
    model.graph.node.insert(0, helper.make_node("Constant", [], ["unused"], value=weights))
    memory = in_memory(model.SerializeToString())  # 280 MB
    read = Model.of(memory)
    assert read.data is memory
    assert longest_stop(lambda: locations(memory)) < PAUSE_S
    assert longest_stop(lambda: opened(read)) < PAUSE_S


def _length(data: bytes) -> bytes:
    size, head = len(data), bytearray()
    while size > 0x7F:
        head.append(size & 0x7F | 0x80)
        size >>= 7
    return bytes([*head, size])
