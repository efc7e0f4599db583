"""Readings and edits of ONNX graphs that others wrote: labels, ZipMap, shapes of answers, fixed batches."""
