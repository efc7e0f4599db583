"""TensorFlow Serving's predict: rows, columns, or one image or text as the body."""
