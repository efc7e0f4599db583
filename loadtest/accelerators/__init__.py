"""What `python -m loadtest.gpu` measures: the runtime on a device beside onnxruntime alone on the same device."""
