"""Publishing ONNX files that the user brings: read, checked against each other, given golden rows, published.

Needs neither torch nor scikit-learn.
"""
