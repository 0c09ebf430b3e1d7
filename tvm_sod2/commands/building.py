"""From the command line's words to a built module: what compile, run and demo share."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from tvm_sod2.commands.progress import shown
from tvm_sod2.errors import Sod2Error

if TYPE_CHECKING:
    import tvm


def resolve_target(fields: Mapping[str, Any] | None) -> tvm.target.Target | None:
    """TVM's target of the fields given by ``--target``; None stays None, which is this machine."""
    if fields is None:
        return None
    from tvm_sod2.pipeline import resolve

    try:
        return resolve(fields)
    except (ValueError, TypeError, KeyError, RuntimeError) as error:
        first = str(error).strip().splitlines()[-1]
        raise Sod2Error(f"argument --target: TVM does not know this target: {first}") from error


def build(
    mod: tvm.IRModule,
    title: str,
    target: Mapping[str, Any] | None = None,
    bounds: Mapping[str, tuple[int, int]] | None = None,
    winograd: int | None = None,
) -> tvm.runtime.Executable:
    """``tvm_sod2.build`` with its progress shown on stderr under this title."""
    from tvm_sod2 import build as build_module

    resolved = resolve_target(target)
    with shown(title) as progress:
        return build_module(
            mod, resolved, bounds=dict(bounds or {}), winograd=winograd, progress=progress
        )
