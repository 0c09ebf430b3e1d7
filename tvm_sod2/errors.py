"""Errors that a user of tvm_sod2 can act on.

Every message names the model's node, operator, input or dimension and what was expected.
"""


class Sod2Error(Exception):
    """Base of all errors raised on purpose; the command line prints it in one line."""


class ModelFileError(Sod2Error):
    """The model file is missing, unreadable, truncated or not an ONNX model."""


class UnsupportedOperatorError(Sod2Error):
    """The model uses operators that cannot be imported; the message names each with its node."""


class ImportModelError(Sod2Error):
    """A node of the model is malformed or contradicts its inputs."""


class BuildError(Sod2Error):
    """A module cannot be compiled; the message names the operator and what would help."""


class ShapeError(BuildError):
    """Dims that contradict each other, found before anything runs."""


class InputError(Sod2Error, ValueError):
    """The inputs of a run do not fit the model: kind, name, dtype, rank or a dim."""
