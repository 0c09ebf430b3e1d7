"""Differential fuzzing: random ONNX graphs, one build each, compared at several shapes."""
