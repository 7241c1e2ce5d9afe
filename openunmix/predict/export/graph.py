"""A graph of ONNX under construction: nodes with names of their own, and weights stored small.

ONNX [1]_ is a file format for networks, which runtimes in many languages and browsers execute.
Weights are arrays of numpy: this file needs no torch.

References
----------
.. [1] Open Neural Network Exchange, operator set 17, https://onnx.ai/onnx/operators.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt

Array: TypeAlias = npt.NDArray[Any]

#: Operators of this version are in onnxruntime since 1.12; the format is as old.
_OPSET, _IR_VERSION = 17, 8
_LARGEST = 63  # of quantised weights
_MICROSOFT = "com.microsoft"  # the domain of operators that onnxruntime adds
_LAST = np.iinfo(np.int64).max  # where a slice to the end stops

#: Of LSTM gates, torch stores (input, forget, cell, output), ONNX (input, output, forget, cell).
_GATES = (0, 3, 1, 2)


class LSTMWeights(NamedTuple):
    """One direction of an LSTM layer as torch stores it, its gates one after the other in rows."""

    weight_ih: Array  #: (4 * width, inputs)
    weight_hh: Array  #: (4 * width, width)
    bias_ih: Array  #: (4 * width,)
    bias_hh: Array  #: (4 * width,)


class Graph:
    """Nodes, weights, inputs and outputs; every method adds a node and returns its output's name.

    Matrices are stored with a precision, and computed with as float32 if that is a float.
    """

    def __init__(self, precision: str = "float32") -> None:
        self.precision = precision
        self.nodes: list[Any] = []
        self.weights: list[Any] = []
        self.inputs: list[Any] = []
        self.outputs: list[Any] = []
        self._stored: dict[bytes, str] = {}  # names of weights by their content

    def add(self, operator: str, *inputs: str, outputs: int = 1, **attributes: Any) -> Any:
        """Add a node; return the name of its output, or a list of names of several."""
        from onnx import helper

        names = [f"{operator.lower()}_{len(self.nodes)}_{i}" for i in range(outputs)]
        self.nodes.append(helper.make_node(operator, inputs, names, names[0], **attributes))
        return names[0] if outputs == 1 else names

    def constant(self, values: npt.ArrayLike, name: str = "") -> str:
        """Add values as they are, equal ones once; return their name."""
        from onnx import numpy_helper

        array = np.asarray(values)
        key = f"{array.dtype} {array.shape}".encode() + array.tobytes()
        if not name and key in self._stored:
            return self._stored[key]
        if not name:  # what has a name is an input, which may get other values
            name = self._stored[key] = f"weight_{len(self.weights)}"
        self.weights.append(numpy_helper.from_array(array, name))
        return name

    def matrix(self, values: Array, gains: Sequence[Array] = ()) -> str:
        """Add a matrix, stored as float16 if the graph is not of float32, and multiplied by gains.

        Runtimes compute what follows from weights alone when they load the file.
        """
        if self.precision == "float32":
            return self.vector(math.prod(gains, start=values))
        x = self.add("Cast", self.constant(values.astype(np.float16)), to=1)  # to float32
        for gain in gains:
            x = self.add("Mul", x, self.vector(gain))
        return str(x)

    def vector(self, values: Array) -> str:
        """Add a vector in float32: some of its values are too large for float16."""
        return self.constant(values.astype(np.float32))

    def input(
        self, name: str, shape: Sequence[int | str], default: npt.ArrayLike | None = None
    ) -> str:
        """Declare an input, which may be left out if it has a default; strings are free axes."""
        from onnx import TensorProto, helper

        kind = TensorProto.FLOAT
        if default is not None:
            self.constant(default, name)
            kind = self.weights[-1].data_type
        self.inputs.append(helper.make_tensor_value_info(name, kind, shape))
        return name

    def output(self, value: str, name: str, shape: Sequence[int | str]) -> None:
        """Declare a value as an output of this name."""
        from onnx import TensorProto, helper

        self.nodes.append(helper.make_node("Identity", [value], [name]))
        self.outputs.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, shape))

    def model(self, metadata: dict[str, str]) -> Any:
        """Return the finished and checked model."""
        from onnx import checker, helper

        graph = helper.make_graph(self.nodes, "openunmix", self.inputs, self.outputs, self.weights)
        model = helper.make_model(
            graph,
            opset_imports=[helper.make_opsetid("", _OPSET), helper.make_opsetid(_MICROSOFT, 1)],
            ir_version=_IR_VERSION,
            producer_name="openunmix",
        )
        helper.set_model_props(model, metadata)
        checker.check_model(model, full_check=self.precision != "int8")  # knows no other domain
        return model

    # What networks consist of.

    def reshape(self, x: str, *shape: int) -> str:
        """Reshape; 0 keeps an axis, -1 takes what is left."""
        return str(self.add("Reshape", x, self.constant(np.array(shape, np.int64))))

    def transpose(self, x: str, *axes: int) -> str:
        """Permute axes."""
        return str(self.add("Transpose", x, perm=axes))

    def part(self, x: str, axis: int, start: int | str, stop: int | str) -> str:
        """Slice an axis; positions are numbers, or the names of values of shape (1,)."""
        first, last = (
            place if isinstance(place, str) else self.constant(np.array([place], np.int64))
            for place in (start, stop)
        )
        return str(self.add("Slice", x, first, last, self.constant(np.array([axis], np.int64))))

    def affine(self, x: str, weight: Array, bias: Array, gains: Sequence[Array] = ()) -> str:
        """``x @ weight + bias``, weight (..., inputs, outputs), which is multiplied by gains."""
        if self.precision == "int8" and weight.ndim == 2:
            matrix = quantise(math.prod(gains, start=weight))
            inputs = [x, *map(self.constant, matrix), self.vector(bias)]
            return str(self.add("DynamicQuantizeMatMul", *inputs, domain=_MICROSOFT))
        product = str(self.add("MatMul", x, self.matrix(weight, gains)))
        return str(self.add("Add", product, self.vector(bias)))

    def normalise(self, x: str, weight: Array, bias: Array | None = None, eps: float = 1e-5) -> str:
        """Normalise the last axis to mean 0 and variance 1, then multiply and add."""
        inputs = [self.vector(weight), *([] if bias is None else [self.vector(bias)])]
        return str(self.add("LayerNormalization", x, *inputs, axis=-1, epsilon=eps))

    def recurrent(
        self,
        x: str,
        directions: Sequence[LSTMWeights],
        items: int,
        state: tuple[str, str],
        chunk: str,
    ) -> tuple[str, str, str]:
        """Add a layer: (frames, items, features) to outputs and the state after ``chunk`` frames.

        ``directions`` are a forward LSTM, which begins with a state (1, items, width)
        of output and cell, and a backward one, if there is one, which begins at the last frame.
        """
        forward, *backward = directions
        if not backward:
            outputs, *after = self.lstm(x, forward, state)
            return outputs, after[0], after[1]
        first, rest = self.part(x, 0, 0, chunk), self.part(x, 0, chunk, _LAST)
        seen, *after = self.lstm(first, forward, state)
        # The rest may be empty, and an LSTM may not be run over nothing: a frame is put after it.
        more = self.constant(np.zeros((1, items, forward.weight_ih.shape[1]), np.float32))
        ahead, *_ = self.lstm(self.add("Concat", rest, more, axis=0), forward, (after[0], after[1]))
        outputs = self.add("Concat", seen, self.part(ahead, 0, 0, -1), axis=0)
        for layer in backward:
            outputs = self.add("Concat", outputs, self.lstm(x, layer, way="reverse")[0], axis=-1)
        return str(outputs), after[0], after[1]

    def lstm(
        self,
        x: str,
        layer: LSTMWeights,
        state: tuple[str, str] | tuple[()] = (),
        way: str = "forward",
    ) -> list[str]:
        """Add an LSTM of one layer and direction; return outputs, last output and last cell."""
        width = layer.weight_hh.shape[1]
        rows = [gate * width + row for gate in _GATES for row in range(width)]
        kernels = [kernel[None, rows] for kernel in (layer.weight_ih, layer.weight_hh)]
        # ONNX adds both biases, side by side in one row.
        bias = self.vector(np.concatenate([layer.bias_ih[rows], layer.bias_hh[rows]])[None])
        operator, options, scales = "LSTM", {}, list[str]()
        if self.precision == "int8":
            operator, options = "DynamicQuantizeLSTM", {"domain": _MICROSOFT}
            quantised = [
                [*map(self.constant, quantise(kernel.swapaxes(-1, -2)))] for kernel in kernels
            ]
            names = [integers for integers, *_ in quantised]
            # Left out: the state, if there is none, and peephole weights.
            scales = [*[""] * (3 - len(state)), *quantised[0][1:], *quantised[1][1:]]
        else:
            names = [self.matrix(kernel) for kernel in kernels]
        inputs = [x, *names, bias, "", *state, *scales]
        outputs, *after = self.add(
            operator, *inputs, outputs=3, hidden_size=width, direction=way, **options
        )
        # (frames, directions, items, width) of one direction
        return [self.add("Squeeze", outputs, self.constant(np.array([1], np.int64))), *after]


def quantise(weight: Array) -> tuple[Array, Array, Array]:
    """Quantise the columns of a matrix (..., inputs, outputs): integers, scales, zero points.

    Integers have 7 bits: products of 8 bits overflow where a processor adds pairs of them in 16.
    """
    scale = np.maximum(np.abs(weight).max(axis=-2), 1e-12) / _LARGEST
    integers = np.rint(weight / scale[..., None, :]).astype(np.int8)
    return integers, scale.astype(np.float32), np.zeros(scale.shape, np.int8)
