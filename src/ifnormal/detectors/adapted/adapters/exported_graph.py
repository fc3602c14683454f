"""Graphs of exported programs: their output activation, and the layer that gives features."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.fx import GraphModule, Node

from ifnormal.detectors.adapted.score_model import OutputActivation

_aten = torch.ops.aten
_LAYERS: dict[Any, int] = {
    _aten.linear.default: 0,
    _aten.addmm.default: 1,
    _aten.mm.default: 0,
    _aten.conv1d.default: 0,
    _aten.conv2d.default: 0,
    _aten.conv2d.padding: 0,
    _aten.conv3d.default: 0,
    _aten.conv_transpose2d.input: 0,
    _aten.convolution.default: 0,
}
_SHAPING = frozenset(
    (
        _aten.view.default,
        _aten.reshape.default,
        _aten.squeeze.default,
        _aten.squeeze.dim,
        _aten.squeeze.dims,
        _aten.unsqueeze.default,
        _aten.flatten.using_ints,
        _aten.select.int,
        _aten.slice.Tensor,
        _aten.permute.default,
        _aten.transpose.int,
        _aten.clone.default,
        _aten.alias.default,
    )
)


class Tap(nn.Module):
    """The identity, whose input a hook can read."""

    def forward(self, activations: Tensor) -> Tensor:
        """The activations, unchanged."""
        return activations


def add_tap(module: GraphModule, name: str) -> bool:
    """Put a tap before the last linear or convolutional layer that the score depends on.

    Returns:
        Whether there is such a layer.
    """
    graph = module.graph
    last: Node | None = None
    wanted = _behind(_output(module))
    for node in graph.nodes:
        if node.op == "call_function" and node.target in _LAYERS and node in wanted:
            last = node
    if last is None:
        return False
    source = last.args[_LAYERS[last.target]]
    if not isinstance(source, Node):
        return False
    module.add_submodule(name, Tap())
    with graph.inserting_before(last):
        tapped = graph.call_module(name, (source,))
    last.replace_input_with(source, tapped)
    module.recompile()
    return True


def remove_activation(module: GraphModule) -> OutputActivation:
    """Remove a clip and a sigmoid from the score at the end of a graph, in place, and return them.

    Other outputs stay as they are.
    """
    output = _output(module)
    flat = list(output.args[0]) if isinstance(output.args[0], list | tuple) else [output.args[0]]
    scores = [place for place, node in enumerate(flat) if _one_an_image(node)]
    if len(scores) != 1:
        return OutputActivation()
    node, activation, shaping = flat[scores[0]], OutputActivation(), []
    while isinstance(node, Node) and node.op == "call_function":
        if node.target in _SHAPING:
            shaping.append(node)
        elif activation == OutputActivation() and (bounds := _bounds(node)) is not None:
            activation = OutputActivation(low=bounds[0], high=bounds[1])
        elif node.target is _aten.sigmoid.default:
            activation = OutputActivation(True, activation.low, activation.high)
            node = node.args[0]
            break
        else:
            break
        node = node.args[0]
    if activation == OutputActivation():
        return activation
    with module.graph.inserting_before(output):
        for shape in reversed(shaping):
            new = module.graph.node_copy(shape)
            new.args = (node, *shape.args[1:])
            node = new
    flat[scores[0]] = node
    output.args = (tuple(flat) if isinstance(output.args[0], list | tuple) else node,)
    module.recompile()
    return activation


def _output(module: GraphModule) -> Node:
    return next(node for node in module.graph.nodes if node.op == "output")


def _behind(node: Node) -> set[Node]:
    """All nodes that a node depends on."""
    found: set[Node] = set()
    waiting = list(node.all_input_nodes)
    while waiting:
        current = waiting.pop()
        if current not in found:
            found.add(current)
            waiting += current.all_input_nodes
    return found


def _one_an_image(node: Any) -> bool:
    value = node.meta.get("val") if isinstance(node, Node) else None
    if not isinstance(value, Tensor) or not value.is_floating_point() or value.ndim == 0:
        return False
    return all(isinstance(side, int) and side == 1 for side in value.shape[1:])


def _bounds(node: Node) -> tuple[float | None, float | None] | None:
    """Low and high of a clip by constants; None for anything else."""
    if node.target is not _aten.clamp.default:
        return None
    low, high = (*node.args[1:3], None, None)[:2]
    low, high = node.kwargs.get("min", low), node.kwargs.get("max", high)
    if isinstance(low, Node) or isinstance(high, Node):
        return None
    return _number(low), _number(high)


def _number(value: Any) -> float | None:
    return None if value is None else float(value)
