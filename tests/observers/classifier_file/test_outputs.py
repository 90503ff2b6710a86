"""Outputs as other programs write them: one column, logits or probabilities, several outputs, maps."""

from pathlib import Path

import numpy as np
import pytest
from helpers.classifier_files import COLOURS, FLOAT, SIDE, colour_graph, describe, flat, pictures, save, seen, zipmap

from beholder.errors import BadFileError, NotAvailableError

onnx = pytest.importorskip("onnx")
helper, numpy_helper = onnx.helper, onnx.numpy_helper


def test_one_column_is_a_sigmoid(tmp_path: Path) -> None:
    matrix = [[4.0, 0.0, 0.0]]
    outputs = [("z", FLOAT, ["n", 1])]
    with_sigmoid = [helper.make_node("Sigmoid", ["y"], ["z"])]
    for name, last, output in (
        ("a", with_sigmoid, "auto"),
        ("b", with_sigmoid, "probabilities"),
        ("c", [helper.make_node("Identity", ["y"], ["z"])], "auto"),
        ("d", [helper.make_node("Identity", ["y"], ["z"])], "logits"),
    ):
        model = colour_graph(tmp_path / f"{name}.onnx", ["n", 3, SIDE, SIDE], last=last, outputs=outputs, matrix=matrix)
        result = describe(model, ("other", "red"), output=output).predict(pictures())
        sigmoid = 1 / (1 + np.exp(-np.array([4, 0, 0])))
        np.testing.assert_allclose(result, np.stack([1 - sigmoid, sigmoid], axis=1), rtol=1e-5, err_msg=name)
    with pytest.raises(BadFileError, match="tells 2 classes apart, but 1 is named: name both classes"):
        describe(model, ("red",)).predict(pictures())


def test_one_column_that_may_be_either(tmp_path: Path) -> None:
    last = [helper.make_node("Relu", ["y"], ["z"])]
    model = colour_graph(
        tmp_path / "a.onnx",
        ["n", 3, SIDE, SIDE],
        last=last,
        outputs=[("z", FLOAT, ["n", 1])],
        matrix=[[0.5, 0.0, 0.0]],
    )
    with pytest.raises(BadFileError, match=r'one value, which may be a probability or a logit: write "output"'):
        describe(model, ("other", "red")).predict(pictures())


def test_the_last_operator_tells_logits_from_probabilities(tmp_path: Path) -> None:
    """Logits may sum to 1 by chance, and the probabilities of a coarse network need not."""
    thirds = [[1.0, 0, 0], [0, 1.0, 0], [0, 0, 1.0]]
    shape = ["n", 3, SIDE, SIDE]
    e = np.e
    plain = describe(colour_graph(tmp_path / "a.onnx", shape, matrix=thirds))
    np.testing.assert_allclose(plain.predict([flat("red")])[0], np.array([e, 1, 1]) / (e + 2), rtol=1e-5)
    for name, operator, expected in (
        ("b", "Softmax", np.array([e, 1, 1]) / (e + 2)),
        ("c", "LogSoftmax", np.array([e, 1, 1]) / (e + 2)),
        ("d", "Sigmoid", np.array([0.7310586, 0.5, 0.5]) / 1.7310586),
    ):
        last = [
            helper.make_node(operator, ["y"], ["s"]),
            helper.make_node("Unsqueeze", ["s", "axes"], ["t"]),
            helper.make_node("Identity", ["t"], ["z"]),
        ]
        model = colour_graph(
            tmp_path / f"{name}.onnx", shape, matrix=thirds, last=last, outputs=[("z", FLOAT, ["n", 3, 1])]
        )
        proto = onnx.load(model)
        proto.graph.initializer.append(numpy_helper.from_array(np.array([2], np.int64), "axes"))
        onnx.save(proto, model)
        result = describe(model).predict([flat("red")])[0]
        np.testing.assert_allclose(result, expected, rtol=1e-5, err_msg=operator)


def test_per_cent_and_number_formats_without_operators(tmp_path: Path) -> None:
    last = [helper.make_node("Softmax", ["y"], ["p"], axis=1), helper.make_node("Mul", ["p", "hundred"], ["z"])]
    model = colour_graph(tmp_path / "a.onnx", ["n", 3, SIDE, SIDE], last=last, outputs=[("z", FLOAT, ["n", 3])])
    proto = onnx.load(model)
    proto.graph.initializer.append(numpy_helper.from_array(np.array(100, np.float32), "hundred"))
    onnx.save(proto, model)
    for output in ("auto", "probabilities"):
        result = describe(model, output=output).predict([flat("red")])
        np.testing.assert_allclose(result[0], np.exp([4, 0, 0]) / np.exp([4, 0, 0]).sum(), rtol=1e-5)
    weight = np.ones((2, 3, 8, 8))
    node = helper.make_node("Conv", ["x", "w"], ["y"])
    kind = onnx.TensorProto.DOUBLE
    model = save(
        tmp_path / "b.onnx", [node], [("x", kind, ["n", 3, 8, 8])], [("y", kind, ["n", 2, 1, 1])], {"w": weight}
    )
    with pytest.raises(NotAvailableError, match=r"export it in float32 \(.*Conv"):
        describe(model, ("a", "b")).predict(pictures())


def test_wrong_claims_are_refused(tmp_path: Path) -> None:
    model = colour_graph(tmp_path / "a.onnx", ["n", 3, SIDE, SIDE], matrix=[[-1.0, 0, 0], [0, 1, 0], [0, 0, 1]])
    with pytest.raises(BadFileError, match=r'gives negative values.*write "output": "logits"'):
        describe(model, output="probabilities").predict(pictures())
    model = colour_graph(tmp_path / "b.onnx", ["n", 3, SIDE, SIDE], matrix=[[np.nan, 0, 0], [0, 1, 0], [0, 0, 1]])
    with pytest.raises(BadFileError, match="infinite values or NaN"):
        describe(model).predict(pictures())


def two_heads(path: Path, first: str = "a", second: str = "b", sizes: tuple[int, int] = (3, 3)) -> Path:
    last = [
        helper.make_node("MatMul", ["m", "w1"], [first]),
        helper.make_node("MatMul", ["m", "w2"], [second]),
    ]
    model = colour_graph(
        path,
        ["n", 3, SIDE, SIDE],
        last=last,
        outputs=[(first, FLOAT, ["n", sizes[0]]), (second, FLOAT, ["n", sizes[1]])],
    )
    proto = onnx.load(model)
    for name, matrix in (("w1", np.eye(3, sizes[0])), ("w2", np.eye(3, sizes[1])[::-1])):
        proto.graph.initializer.append(numpy_helper.from_array(matrix.astype(np.float32).copy(), name))
    onnx.save(proto, path)
    return path


def test_several_outputs(tmp_path: Path) -> None:
    model = two_heads(tmp_path / "a.onnx")
    with pytest.raises(BadFileError, match=r'several outputs .* \(a, b\): name one as "output_name"'):
        describe(model).predict(pictures())
    assert seen(describe(model, output_name="a")) == [0, 1, 2]
    assert seen(describe(model, output_name="b")) == [2, 1, 0]
    with pytest.raises(BadFileError, match=r"no output 'c', .*\"output_name\": choose one of a, b"):
        describe(model, output_name="c").predict(pictures())
    # The one with as many values as classes, then well-known names.
    assert seen(describe(two_heads(tmp_path / "b.onnx", sizes=(5, 3)))) == [2, 1, 0]
    assert seen(describe(two_heads(tmp_path / "c.onnx", "aux_logits", "logits"))) == [2, 1, 0]
    assert seen(describe(two_heads(tmp_path / "d.onnx", "output_probability", "z"))) == [0, 1, 2]


def test_maps_from_class_to_probability(tmp_path: Path) -> None:
    numbered = describe(zipmap(tmp_path / "a.onnx", classlabels_int64s=[3, 5, 11]))
    assert seen(numbered) == [0, 1, 2]
    np.testing.assert_allclose(numbered.predict(pictures()).sum(axis=1), 1, atol=1e-6)
    model = zipmap(tmp_path / "b.onnx", classlabels_strings=["red", "green", "blue"])
    assert [describe(model, None).classify(flat(colour))[0].label for colour in COLOURS] == list(COLOURS)
    other = describe(model, ("blue", "green", "red"))
    assert [other.classify(flat(colour))[0].label for colour in COLOURS] == list(COLOURS)


def test_one_output_a_class(tmp_path: Path) -> None:
    last = [helper.make_node("Split", ["y"], ["i0", "i1", "i2"], axis=1)]
    outputs = [("label", onnx.TensorProto.INT64, ["n"]), *((f"i{i}", FLOAT, ["n", 1]) for i in range(3))]
    last.append(helper.make_node("ArgMax", ["y"], ["label"], axis=1, keepdims=0))
    model = colour_graph(tmp_path / "a.onnx", ["n", 3, SIDE, SIDE], last=last, outputs=outputs)
    assert seen(describe(model)) == [0, 1, 2]


def test_a_label_alone_is_no_answer(tmp_path: Path) -> None:
    last = [helper.make_node("ArgMax", ["y"], ["label"], axis=1, keepdims=0)]
    outputs = [("label", onnx.TensorProto.INT64, ["n"])]
    model = colour_graph(tmp_path / "a.onnx", ["n", 3, SIDE, SIDE], last=last, outputs=outputs)
    with pytest.raises(BadFileError, match=r"gives no probabilities, only label: tensor\(int64\): export it with"):
        describe(model).predict(pictures())


def test_another_number_of_labels(tmp_path: Path) -> None:
    model = colour_graph(tmp_path / "a.onnx", ["n", 3, SIDE, SIDE])
    with pytest.raises(BadFileError, match=r"3 classes apart, but 2 are named: .*with a line for the background"):
        describe(model, ("red", "green")).predict(pictures())
    with pytest.raises(BadFileError, match=r"3 classes apart, but 4 are named: give the labels that belong to it"):
        describe(model, ("a", "b", "c", "d")).predict(pictures())
