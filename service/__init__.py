"""HTTP service over ONNX bundles; never imports torch."""
