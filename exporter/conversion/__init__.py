"""Trained members as normalised ONNX graphs: opset 20, one input per ensemble input, one output [n, C]."""
