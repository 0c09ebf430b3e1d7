"""``tvm-sod2 run``: run a library, or a model built on the spot, and say what came out."""

from __future__ import annotations

import re
import statistics
import time
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from tvm_sod2.commands.building import build
from tvm_sod2.commands.inputs import Request
from tvm_sod2.commands.objects import describe_object, given, taken, unfolded
from tvm_sod2.errors import InputError, ModelFileError, Sod2Error

if TYPE_CHECKING:
    from tvm import relax

LIBRARIES = (".so", ".dylib", ".dll")


def run_model(
    path: Path, request: Request, output: Path | None, repeat: int, profile: bool
) -> None:
    """Run once, then ``repeat`` times against the clock, and print or write the outputs.

    ``profile``: print where the time goes, too.

    Inputs are checked before a model is built. Raises Sod2Error on wrong inputs or files.
    """
    if path.suffix in LIBRARIES:
        vm = load_library(path)
        from tvm_sod2.metadata import read_signature

        signature = read_signature(vm)
        arrays = request.arrays(signature)
        sizes = signature.bind(arrays)
    else:
        from tvm_sod2 import from_onnx
        from tvm_sod2.metadata import describe, read_signature

        mod = from_onnx(path)
        signature = describe(mod)
        arrays = request.arrays(signature)
        sizes = signature.bind(arrays)
        vm = machine(build(mod, f"building {path.name}"))
        signature = read_signature(vm)

    tensors = [given(arrays[value.name]) for value in signature.inputs]
    call = checked(vm["main"], sizes)
    results = taken(call(*tensors), signature.outputs)
    seconds = []
    for _ in range(repeat):
        start = time.perf_counter()
        call(*tensors)
        seconds.append(time.perf_counter() - start)

    for value in signature.inputs:
        for name, array in unfolded(value.name, arrays[value.name]).items():
            print(f"input   {name}  {describe_array(array, statistics_too=False)}")
    outputs: dict[str, np.ndarray] = {}
    for value, result in zip(signature.outputs, results, strict=True):
        if not isinstance(result, np.ndarray):
            print(f"output  {value.name}  {describe_object(result)}")
        found = unfolded(value.name, result)
        outputs |= found
        for name, array in found.items():
            print(f"output  {name}  {describe_array(array)}")
    if signature.arena_bytes:
        from tvm_sod2.memory import arena_bytes

        print(f"arena   {arena_bytes(signature.arena_bytes, sizes):,} bytes")
    print(f"time    {statistics.median(seconds) * 1e3:.3f} ms (median of {repeat})")
    if profile:
        _print_profile(vm, lambda: call(*tensors), repeat)
    if output is not None:
        write(outputs, output)


def _print_profile(vm: relax.VirtualMachine, call: Callable[[], Any], repeat: int) -> None:
    import tvm

    from tvm_sod2.commands.profile import measure, table
    from tvm_sod2.schedules.peak import fma_peak

    lines, whole = measure(vm, call, repeat)
    threads = tvm.get_global_func("runtime.NumThreads")()
    print(table(lines, whole, fma_peak() * threads))


def load_library(path: Path) -> relax.VirtualMachine:
    """A machine for an exported library; ModelFileError when the file is missing or no library."""
    import tvm

    if not path.is_file():
        raise ModelFileError(f"there is no file {path}")
    try:
        return machine(tvm.runtime.load_module(str(path.resolve())))
    except (ValueError, RuntimeError, AttributeError, OSError) as error:
        reason = str(error).strip().splitlines()[0]
        raise ModelFileError(f"{path} is not a library that TVM can load: {reason}") from error


def machine(module: Any) -> relax.VirtualMachine:
    """A virtual machine on the CPU."""
    import tvm
    from tvm import relax

    return relax.VirtualMachine(module, tvm.cpu())


def checked(main: Callable[..., Any], sizes: dict[str, int]) -> Callable[..., Any]:
    """``main`` whose refusals of its inputs are one line for the user, with the sizes it got."""

    def call(*tensors: Any) -> Any:
        try:
            return main(*tensors)
        except (ValueError, RuntimeError) as error:
            text = plain(str(error))
            named = [dim for dim in sizes if re.search(rf"\b{re.escape(dim)}\b", text)]
            given = ", ".join(f"{dim} is {sizes[dim]}" for dim in named)
            raise InputError(f"{text} ({given})" if given else text) from error

    return call


def plain(message: str) -> str:
    """The VM's own message in the words of the model: the input, the dim, what was expected.

    >>> plain("Check failed: input_shape[i] == reg (4 vs. 3) : ErrorContext(fn=main, "
    ...       "loc=param[0], param=x, annotation=...)  match_cast error,  shape[1] mismatch")
    "input 'x': dim 1 is 4, expected 3"
    """
    text = " ".join(message.split())
    dim = re.search(r"\((\d+) vs\. (\d+)\) : .*param=(\S+),.* shape\[(\d+)\]", text)
    if dim:
        found, expected, name, axis = dim.groups()
        return f"input {name!r}: dim {axis} is {found}, expected {expected}"
    text = re.sub(r"^Check failed: .*? is false: ", "", text)
    if text == "std::bad_alloc":
        return "out of memory: a tensor of these dims cannot be had"
    # TVM prints an assert's text as a literal when there are quotes in it.
    return text[1:-1] if len(text) > 1 and text[0] == text[-1] == '"' else text


def describe_array(array: np.ndarray, statistics_too: bool = True) -> str:
    """``float32 1x40x6625  min 0  max 0.98  mean 0.00015``."""
    head = f"{array.dtype} {'x'.join(map(str, array.shape)) or 'scalar'}"
    if not statistics_too or array.size == 0:
        return head
    low, high, mean = array.min(), array.max(), array.mean(dtype=np.float64)
    return f"{head}  min {low:.6g}  max {high:.6g}  mean {mean:.6g}"


def write(outputs: dict[str, np.ndarray], place: Path) -> None:
    """All outputs into one .npz, or each into a folder as NAME.npy, awkward letters as ``_``."""
    try:
        if place.suffix == ".npz":
            # np.savez would take outputs called "file" or "allow_pickle" for its own arguments.
            with zipfile.ZipFile(place, "w") as archive:
                for name, array in outputs.items():
                    with archive.open(f"{name}.npy", "w", force_zip64=True) as member:
                        np.lib.format.write_array(member, array, allow_pickle=False)
            return
        place.mkdir(parents=True, exist_ok=True)
        names = {name: re.sub(r"[^\w.-]", "_", name) for name in outputs}
        if len(set(names.values())) < len(names):
            raise Sod2Error(
                f"outputs {', '.join(outputs)} share a file name: write an .npz instead"
            )
        for name, array in outputs.items():
            np.save(place / f"{names[name]}.npy", array)
    except OSError as error:
        raise Sod2Error(f"argument --output: cannot write {place}: {error}") from error
