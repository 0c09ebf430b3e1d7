"""The command ``tvm-sod2``: parses arguments, hands over to a module of ``tvm_sod2.commands``.

Whatever goes wrong is one line on stderr, "tvm-sod2: error: ...", and exit status 2.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

from tvm_sod2 import __version__
from tvm_sod2.commands import arguments
from tvm_sod2.errors import Sod2Error

NAME = "tvm-sod2"


class Parser(argparse.ArgumentParser):
    """argparse with errors of one line, without the usage before them."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{NAME}: error: {message} (see {self.prog} --help)\n")


def parser() -> Parser:
    """The arguments of every command."""
    root = Parser(prog=NAME, description="Dynamic neural networks compiled ahead of time with TVM.")
    root.add_argument("--version", action="version", version=f"{NAME} {__version__}")
    commands = root.add_subparsers(dest="command", required=True, metavar="COMMAND")

    compile_ = commands.add_parser("compile", help="build an ONNX model into a library")
    compile_.add_argument("model", type=Path, metavar="MODEL", help="an .onnx file")
    compile_.add_argument("-o", "--output", type=Path, required=True, metavar="LIB.so")
    compile_.add_argument(
        "--target", type=arguments.target, metavar="JSON", help="TVM target; default this machine"
    )
    compile_.add_argument(
        "--bound",
        type=arguments.bound,
        action="append",
        default=[],
        metavar="DIM=LO:HI",
        help="what is known of a dim, both ends included; may be repeated",
    )
    compile_.add_argument(
        "--winograd",
        type=int,
        choices=(4, 2, 0),
        help="largest tile of outputs that 3x3 convolutions transform; 2 and 0 round less",
    )

    run = commands.add_parser("run", help="run a library, or a model built on the spot")
    run.add_argument("file", type=Path, metavar="LIB.so|MODEL")
    run.add_argument(
        "--input",
        type=arguments.array_file,
        action="append",
        default=[],
        metavar="NAME=FILE.npy",
        help="an input from a file; may be repeated",
    )
    run.add_argument(
        "--shape",
        type=arguments.shape,
        action="append",
        default=[],
        metavar="NAME=1x3x48x320",
        help="a random input of this shape; may be repeated",
    )
    run.add_argument("--seed", type=arguments.seed, default=0, help="of random inputs")
    run.add_argument("--output", type=Path, metavar="DIR|FILE.npz", help="where outputs go")
    run.add_argument("--threads", type=arguments.count, metavar="N", help="default: all cores")
    run.add_argument("--repeat", type=arguments.count, default=1, metavar="N", help="timed runs")
    run.add_argument("--profile", action="store_true", help="time each kernel, over --repeat runs")

    inspect = commands.add_parser("inspect", help="what is known of a model before it runs")
    inspect.add_argument("model", type=Path, metavar="MODEL")
    inspect.add_argument("--json", action="store_true", help="for machines")

    commands.add_parser("demo", help="read three drawn lines of text, next to ONNX Runtime")
    return root


def dispatch(options: argparse.Namespace, root: Parser) -> int:
    """Run the command; the exit status. Imports only what the command needs."""
    if options.command == "compile":
        from tvm_sod2.commands.compile import compile_model

        bounds = arguments.unique(options.bound, "--bound", root)
        compile_model(options.model, options.output, options.target, bounds, options.winograd)
    elif options.command == "run":
        from tvm_sod2.commands.inputs import Request
        from tvm_sod2.commands.run import run_model

        if options.threads:
            os.environ["TVM_NUM_THREADS"] = str(options.threads)  # read when TVM first uses it
        request = Request(
            files=arguments.unique(options.input, "--input", root),
            shapes=arguments.unique(options.shape, "--shape", root),
            seed=options.seed,
        )
        run_model(options.file, request, options.output, options.repeat, options.profile)
    elif options.command == "inspect":
        from tvm_sod2.commands.inspect import inspect_model

        inspect_model(options.model, options.json)
    else:
        from tvm_sod2.commands.demo import demo

        return demo()
    return 0


def main(argv: Sequence[str] | None = None) -> int:
    """Entry point of the console script; returns the exit status."""
    root = parser()
    try:
        return dispatch(root.parse_args(argv), root)
    except Sod2Error as error:
        return fail(str(error))
    except MemoryError:
        return fail("out of memory")
    except BrokenPipeError:  # the reader of our output, `| head` for one, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except KeyboardInterrupt:
        print(file=sys.stderr)
        return 130
    except Exception as error:
        if os.environ.get("TVM_SOD2_TRACEBACK"):
            raise
        reason = f"{type(error).__name__}: {error}"
        return fail(f"{reason} (a defect; TVM_SOD2_TRACEBACK=1 shows where)")


def fail(message: str) -> int:
    """Print one line, however many the message has."""
    lines = [line.strip() for line in message.splitlines()]
    print(f"{NAME}: error: {' '.join(filter(None, lines))}", file=sys.stderr)
    return 2
