"""Members that were trained elsewhere: ONNX files, torch modules, estimators of scikit-learn and LightGBM."""
