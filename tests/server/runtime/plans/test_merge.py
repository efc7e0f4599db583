"""Members as one graph: the merged graph gives exactly what the members give."""

from __future__ import annotations

import numpy as np
import pytest
from onnx import FunctionProto, ModelProto, helper

from server.runtime.datatypes import Array
from server.runtime.plans.merge import MergeError, Part, merge
from server.runtime.sessions.external_weights import ModelError, embed, locations, parse
from server.runtime.sessions.session import Model
from tests.graphs import branching, keyword, linear, nan_above, softmax_linear, with_external
from tests.repositories import opened

RANDOM = np.random.default_rng(0)
W = [RANDOM.normal(size=(3, 4)) for _ in range(4)]
X = RANDOM.normal(size=(5, 3)).astype(np.float32)


def part(name: str, data: bytes, external: dict[str, bytes] | None = None, **feeds: str) -> Part:
    return Part(name, Model(data, external or {}), feeds or {"x": "x"}, "y")


def check(parts: list[Part], feeds: dict[str, Array]) -> None:
    """The merged graph's outputs equal each member's own, at one row and at all."""
    merged = opened(merge(parts))
    names = [entry.name for entry in merged.outputs]
    assert len(names) == len(parts)
    assert sorted(entry.name for entry in merged.inputs) == sorted(feeds)
    for rows in (slice(0, 1), slice(None)):
        batch = {name: array[rows] for name, array in feeds.items()}
        for one, given in zip(parts, merged.run(names, batch), strict=True):
            alone = opened(one.model)
            expected = alone.run(["y"], {own: batch[source] for own, source in one.feeds.items()})[0]
            np.testing.assert_allclose(given, expected, rtol=1e-6, atol=1e-7)


def with_opsets(data: bytes, *opsets: tuple[str, int], ir_version: int | None = None) -> bytes:
    model = ModelProto.FromString(data)
    if opsets:
        del model.opset_import[:]
        model.opset_import.extend(helper.make_opsetid(domain, version) for domain, version in opsets)
    if ir_version is not None:
        model.ir_version = ir_version
    changed: bytes = model.SerializeToString()
    return changed


def test_members_that_share_an_input_and_every_name() -> None:
    check([part(f"m{k}", softmax_linear(W[k])) for k in range(3)], {"x": X})


def test_members_with_inputs_of_their_own() -> None:
    other = RANDOM.normal(size=(5, 3)).astype(np.float32)
    parts = [part("one", softmax_linear(W[0]), x="left"), part("two", softmax_linear(W[1]), x="right")]
    check(parts, {"left": X, "right": other})


def test_strings_beside_numbers() -> None:
    words = np.array(["alpha", "beta", "?", "alpha", ""], dtype=np.object_)
    parts = [part("net", softmax_linear(W[0])), part("words", keyword(["alpha", "beta"], 4), text="text")]
    check(parts, {"x": X, "text": words})


def test_subgraphs_keep_their_hold_on_outer_weights() -> None:
    check([part("if", branching(W[0])), part("also", branching(W[1]))], {"x": X})


def test_opsets_whose_operators_mean_the_same_are_relabelled() -> None:
    parts = [part("old", softmax_linear(W[0], opset=13)), part("new", softmax_linear(W[1], opset=21))]
    check(parts, {"x": X})


def test_opsets_whose_operators_changed_are_converted() -> None:
    parts = [part("old", softmax_linear(W[0], opset=11)), part("new", softmax_linear(W[1], opset=20))]
    check(parts, {"x": X})


def test_the_default_domain_named_twice_counts_once() -> None:
    twice = with_opsets(softmax_linear(W[0]), ("", 20), ("", 20), ("ai.onnx.ml", 1))
    check([part("twice", twice), part("once", softmax_linear(W[1]))], {"x": X})
    merged = ModelProto.FromString(bytes(merge([part("twice", twice), part("once", softmax_linear(W[1]))]).data))
    assert [entry.domain for entry in merged.opset_import] == ["", "ai.onnx.ml"]


def test_different_ir_versions_become_the_newest() -> None:
    old = with_opsets(softmax_linear(W[0]), ir_version=7)
    assert (
        ModelProto.FromString(bytes(merge([part("old", old), part("new", softmax_linear(W[1]))]).data)).ir_version == 9
    )
    check([part("old", old), part("new", softmax_linear(W[1]))], {"x": X})


def test_external_weights_become_part_of_the_graph() -> None:
    data, content = with_external(softmax_linear(W[0]), "w.data")
    check([part("big", data, {"w.data": content}), part("small", softmax_linear(W[1]))], {"x": X})


def test_weights_that_are_inputs_too_stay_weights() -> None:
    model = ModelProto.FromString(linear(W[0]))
    for tensor in model.graph.initializer:
        model.graph.input.append(helper.make_tensor_value_info(tensor.name, tensor.data_type, list(tensor.dims)))
    check([part("old style", model.SerializeToString()), part("new", linear(W[1]))], {"x": X})


def doubling(op: str) -> bytes:
    """y = op(x W) with `op` a function of the model's own, which calls another."""
    model = ModelProto.FromString(linear(W[0]))
    model.graph.node[-1].output[0] = "z"
    model.graph.node.append(helper.make_node("Twice", ["z"], ["y"], domain="own"))
    model.opset_import.append(helper.make_opsetid("own", 1))
    opsets = [helper.make_opsetid("", 20), helper.make_opsetid("own", 1)]
    inner: FunctionProto = helper.make_function(
        "own", "Once", ["a"], ["b"], [helper.make_node(op, ["a", "a"], ["b"])], opsets
    )
    outer = helper.make_function(
        "own", "Twice", ["a"], ["b"], [helper.make_node("Once", ["a"], ["b"], domain="own")], opsets
    )
    model.functions.extend([inner, outer])
    data: bytes = model.SerializeToString()
    return data


def test_functions_of_one_name_do_not_clash() -> None:
    check([part("sum", doubling("Add")), part("square", doubling("Mul"))], {"x": X})


def test_a_converter_that_gives_up_is_one_sentence() -> None:
    future = with_opsets(softmax_linear(W[0]), ("", 9999))
    with pytest.raises(MergeError, match="member 'old'"):
        merge([part("future", future), part("old", softmax_linear(W[1], opset=11))])


def test_what_is_no_model_is_one_sentence() -> None:
    with pytest.raises(MergeError, match="member 'bad': is no ONNX file"):
        merge([part("bad", b"\xff\xff"), part("good", softmax_linear(W[0]))])


def test_locations_of_external_weights_are_found_wherever_a_tensor_is() -> None:
    data, _ = with_external(softmax_linear(W[0]), "top.data")
    model = ModelProto.FromString(data)
    assert locations(softmax_linear(W[0])) == set()
    hidden = model.graph.initializer[0]
    del model.graph.initializer[:]
    hidden.external_data[0].value = "hidden.data"
    model.graph.node.append(helper.make_node("Constant", [], ["c"], value=hidden))
    inside = helper.make_graph(list(model.graph.node), "inside", [], [])
    model.graph.node.append(helper.make_node("If", ["c"], ["d"], then_branch=inside, else_branch=inside))
    del model.graph.node[:-1]
    assert locations(data) == {"top.data"}
    assert locations(model.SerializeToString()) == {"hidden.data"}


def test_external_parts_outside_their_file_are_refused() -> None:
    data, content = with_external(softmax_linear(W[0]), "w")
    with pytest.raises(ModelError, match="lies outside 'w'"):
        embed(parse(data), {"w": content[:-1]})
    with pytest.raises(ModelError, match="names no readable part of 'w'"):
        embed(parse(data), {})


def test_a_nan_comes_through(recwarn: pytest.WarningsRecorder) -> None:
    check([part("nan", nan_above(0.0, W[0])), part("fine", softmax_linear(W[1]))], {"x": X})
    assert not recwarn.list
