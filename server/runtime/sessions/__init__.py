"""onnxruntime sessions: opened from verified bytes, shared by digest. Only here is onnxruntime imported."""
