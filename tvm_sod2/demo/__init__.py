"""The demo: a text recogniser with dynamic batch and width, built once, next to ONNX Runtime."""
