"""ONNX graphs: the output that is the score, and operators that the converter does not know."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ifnormal.common.errors import UserError
from ifnormal.detectors.adapted.adapters.output import MAPS, SCORES
from ifnormal.detectors.adapted.score_model import OutputActivation

if TYPE_CHECKING:
    from onnx import AttributeProto, GraphProto, ModelProto, NodeProto

# The newest set of operators that onnx2torch knows.
_OPSET = 17
# They only pick and arrange scores, so that an output activation may come before or after them.
_SHAPING = frozenset(
    ("Identity", "Reshape", "Squeeze", "Unsqueeze", "Flatten", "Gather", "Slice", "Transpose")
)
# Operators that ONNX defines by others, which the converter does know.
_COMPOSED = ("Gelu", "Mish", "GroupNormalization", "ThresholdedRelu", "Shrink", "CastLike")


def score_output(model: ModelProto, name: str) -> str:
    """The name of the output that holds the score, or the anomaly map it is the maximum of.

    Raises:
        UserError: there are several outputs and none is called like one.
    """
    outputs = [output.name for output in model.graph.output]
    known = [wanted for wanted in (*SCORES, *MAPS) if wanted in outputs]
    if known or len(outputs) == 1:
        return known[0] if known else outputs[0]
    raise UserError(
        f"{name} has the outputs {', '.join(outputs)} and none is called {SCORES[0]} or {MAPS[0]}; "
        "export it with the score as its only output."
    )


def input_shape(model: ModelProto, name: str) -> tuple[int | None, ...]:
    """(N, C, H, W) of the one input; None where any size will do.

    Raises:
        UserError: there are several inputs, or it takes no images.
    """
    weights = {tensor.name for tensor in model.graph.initializer}
    inputs = [value for value in model.graph.input if value.name not in weights]
    dims = inputs[0].type.tensor_type.shape.dim if inputs else []
    if len(inputs) != 1 or len(dims) != 4:
        raise UserError(
            f"{name} has {len(inputs)} inputs, the first of {len(dims)} axes; export a model with "
            "one input of images (N, C, H, W)."
        )
    return tuple(dim.dim_value if dim.dim_value > 0 else None for dim in dims)


def external_files(path: Path) -> tuple[str, ...]:
    """Names of the files beside an ONNX file that hold its weights."""
    import onnx

    graph = onnx.load(str(path), load_external_data=False).graph
    found = {
        entry.value
        for tensor in graph.initializer
        if tensor.data_location == onnx.TensorProto.EXTERNAL
        for entry in tensor.external_data
        if entry.key == "location"
    }
    return tuple(sorted(found))


def only_output(model: ModelProto, output: str) -> ModelProto:
    """A copy of the model that computes one output and nothing besides."""
    from onnx import ModelProto as Model

    copy = Model()
    copy.CopyFrom(model)
    graph = copy.graph
    kept = [value for value in graph.output if value.name == output]
    del graph.output[:]
    graph.output.extend(kept)
    _drop_unused(graph)
    return copy


def remove_activation(model: ModelProto, output: str) -> OutputActivation:
    """Remove a clip and a sigmoid from the end of a graph, in place, and return them."""
    constants = _constants(model.graph)
    made_by = {name: node for node in model.graph.node for name in node.output}
    readers: dict[str, int] = {}
    for node in model.graph.node:
        for name in node.input:
            readers[name] = readers.get(name, 0) + 1
    activation, name = OutputActivation(), output
    while (node := made_by.get(name)) is not None:
        if readers.get(name, 0) > (name != output):
            break
        bounds = _bounds(node, constants) if node.op_type == "Clip" else None
        if activation == OutputActivation() and bounds is not None:
            activation = OutputActivation(low=bounds[0], high=bounds[1])
            node.op_type = "Identity"
        elif node.op_type == "Sigmoid":
            activation = OutputActivation(True, activation.low, activation.high)
            node.op_type = "Identity"
        elif node.op_type not in _SHAPING:
            break
        if node.op_type == "Identity":
            del node.input[1:]
            del node.attribute[:]
        name = node.input[0]
        if activation.sigmoid:
            break
    return activation


def lowered(model: ModelProto) -> ModelProto:
    """A copy whose operators are replaced by equivalent ones that the converter knows.

    Mistakes are found by the comparison with onnxruntime's scores in the contract check.
    """
    from onnx import ModelProto as Model
    from onnx import helper, inliner

    copy = Model()
    copy.CopyFrom(model)
    if any(node.op_type in _COMPOSED for node in copy.graph.node):
        copy = inliner.inline_selected_functions(
            copy, [("", name) for name in _COMPOSED], inline_schema_functions=True
        )
    constants = _constants(copy.graph)
    for node in copy.graph.node:
        attributes = {attribute.name: attribute for attribute in node.attribute}
        if node.op_type == "GlobalMaxPool":
            node.op_type = "ReduceMax"
            node.attribute.append(helper.make_attribute("axes", [2, 3]))
        elif node.op_type.startswith("Reduce") and node.op_type != "ReduceSum":
            if len(node.input) == 2 and node.input[1] in constants:
                axes = [int(axis) for axis in constants[node.input[1]].flatten()]
                del node.input[1:]
                node.attribute.append(helper.make_attribute("axes", axes))
            _drop_attributes(node, {"noop_with_empty_axes"})
        elif node.op_type == "Resize":
            stretch = attributes.get("keep_aspect_ratio_policy")
            if (stretch is None or stretch.s == b"stretch") and not _integer(
                attributes, "antialias"
            ):
                _drop_attributes(node, {"keep_aspect_ratio_policy", "antialias"})
        elif node.op_type == "Reshape":
            # It only says how to read a 0 among the sizes, which no score has.
            _drop_attributes(node, {"allowzero"})
        elif node.op_type == "Split":
            _drop_attributes(node, {"num_outputs"})
        elif node.op_type == "AveragePool" and set(_integers(attributes, "dilations")) <= {1}:
            _drop_attributes(node, {"dilations"})
    for opset in copy.opset_import:
        if opset.domain in ("", "ai.onnx"):
            opset.version = min(opset.version, _OPSET)
    return copy


def _drop_unused(graph: GraphProto) -> None:
    needed = {value.name for value in graph.output}
    kept = []
    for node in reversed(graph.node):
        if needed & set(node.output):
            kept.append(node)
            needed |= set(node.input)
            # The bodies of If and Loop read outer values that are not among their inputs.
            needed |= {
                name
                for attribute in node.attribute
                if attribute.HasField("g")
                for inner in attribute.g.node
                for name in inner.input
            }
    kept.reverse()
    del graph.node[:]
    graph.node.extend(kept)
    weights = [tensor for tensor in graph.initializer if tensor.name in needed]
    del graph.initializer[:]
    graph.initializer.extend(weights)


def _constants(graph: GraphProto) -> dict[str, Any]:
    from onnx import numpy_helper

    found = {
        tensor.name: numpy_helper.to_array(tensor)
        for tensor in graph.initializer
        if _small(tensor.dims)
    }
    for node in graph.node:
        value = node.attribute[0] if node.op_type == "Constant" and node.attribute else None
        if value is not None and value.name == "value" and _small(value.t.dims):
            found[node.output[0]] = numpy_helper.to_array(value.t)
    return found


def _small(dims: Sequence[int]) -> bool:
    return math.prod(dims) <= 16


def _bounds(node: NodeProto, constants: dict[str, Any]) -> tuple[float | None, float | None] | None:
    """Low and high of a Clip; None where they are computed."""
    by_name = {attribute.name: attribute.f for attribute in node.attribute}
    found: list[float | None] = [by_name.get("min"), by_name.get("max")]
    for place, name in enumerate(node.input[1:3]):
        if name and name not in constants:
            return None
        if name:
            found[place] = float(constants[name])
    return found[0], found[1]


def _integer(attributes: dict[str, AttributeProto], name: str) -> int:
    return attributes[name].i if name in attributes else 0


def _integers(attributes: dict[str, AttributeProto], name: str) -> list[int]:
    return list(attributes[name].ints) if name in attributes else []


def _drop_attributes(node: NodeProto, names: set[str]) -> None:
    kept = [attribute for attribute in node.attribute if attribute.name not in names]
    del node.attribute[:]
    node.attribute.extend(kept)
