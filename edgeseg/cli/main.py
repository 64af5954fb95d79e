"""`edgeseg VERB`: reads the arguments, runs the verb, turns every error into one line and an exit code."""

from __future__ import annotations

import argparse
import contextlib
import os
import signal
import sys
import traceback
from collections.abc import Iterator, Sequence
from types import FrameType, ModuleType

from edgeseg import __version__
from edgeseg.cli import bench, build, calibrate, doctor, evaluate, export, models, quantize, run, train, verify
from edgeseg.cli.arguments import HelpText, Parser
from edgeseg.errors import EdgeSegError, UsageError, nearest
from edgeseg.packages import missing_package

# Each module has HELP, EXAMPLE, add_arguments(parser) and handle(args) -> exit code.
VERBS: dict[str, ModuleType] = {
    "run": run,
    "bench": bench,
    "eval": evaluate,
    "train": train,
    "export": export,
    "calibrate": calibrate,
    "quantize": quantize,
    "build": build,
    "verify": verify,
    "models": models,
    "doctor": doctor,
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command.

    Args:
        argv: the words after `edgeseg`; those of the process when None.

    Returns:
        The exit code: see edgeseg/errors.py. 0 also after SIGINT or SIGTERM.
    """
    words = sys.argv[1:] if argv is None else list(argv)
    debug = "--debug" in words
    try:
        args = parse([word for word in words if word != "--debug"])
        with _sigterm_as_interrupt():
            return int(args.handle(args))
    except SystemExit as leaving:  # --help and --version
        return int(leaving.code or 0)
    except KeyboardInterrupt:
        _say("warning: stopped by a signal before the end.")
        return 0
    except BrokenPipeError:
        # The reader of our output has left (`edgeseg models | head -1`): nobody is there to complain to.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except Exception as error:
        if debug:
            traceback.print_exc()
        known = _known(error)
        _say(f"error: {known}")
        return known.exit_code


def parse(words: Sequence[str]) -> argparse.Namespace:
    """The arguments as a namespace with `handle`, the verb's function; wrong usage is a UsageError."""
    verb = next((word for word in words if not word.startswith("-")), None)
    if verb is None and not {"-h", "--help", "--version"}.intersection(words):
        raise UsageError("no verb", " ".join(words), f"Give one of {', '.join(VERBS)}, or --help")
    if verb is not None and verb not in VERBS:
        raise UsageError("unknown verb", verb, nearest(verb, VERBS))
    parser, verbs = build_parser()
    args, extras = parser.parse_known_args(words)
    if verb == "train":
        # argparse gives a list of words up at the first option; those behind it belong to the recipe all the same.
        more = [word for word in extras if "=" in word and not word.startswith("-")]
        args.changes = [*args.changes, *more]
        extras = [word for word in extras if word not in more]
    (verbs[verb] if verb else parser).refuse_unknown(extras)
    return args


def build_parser() -> tuple[Parser, dict[str, Parser]]:
    """The whole parser, and that of each verb."""
    parser = Parser(
        prog="edgeseg",
        description="Real-time video segmentation for edge devices.",
        epilog="Example:\n  edgeseg run demo --save demo.mp4\n\nEach verb has its own --help.",
        formatter_class=HelpText,
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"edgeseg {__version__}", help="print the version")
    parser.add_argument("--debug", action="store_true", help="show the traceback of an error (any verb)")
    choices = parser.add_subparsers(title="verbs", dest="verb", metavar="VERB", parser_class=Parser)
    verbs = {}
    for name, module in VERBS.items():
        child = choices.add_parser(
            name,
            help=module.HELP,
            description=f"{module.HELP[0].upper()}{module.HELP[1:]}.",
            epilog=f"Example:\n  {module.EXAMPLE}",
            formatter_class=HelpText,
            allow_abbrev=False,
        )
        module.add_arguments(child)
        child.set_defaults(handle=module.handle)
        verbs[name] = child
    return parser, verbs


@contextlib.contextmanager
def _sigterm_as_interrupt() -> Iterator[None]:
    """SIGTERM ends a verb as Ctrl-C does; `run` installs its own handlers over this."""

    def interrupt(number: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    try:
        before = signal.signal(signal.SIGTERM, interrupt)
    except ValueError:  # not the main thread: a program that calls main() keeps its own handling
        yield
        return
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _known(error: Exception) -> EdgeSegError:
    """Any exception as one of ours: a missing package names its extra, a surprise names --debug."""
    if isinstance(error, EdgeSegError):
        return error
    missing = missing_package(error) if isinstance(error, ImportError) else None
    return missing or EdgeSegError(
        "unexpected failure", f"{type(error).__name__} ({error})", "Run it again with --debug for the traceback"
    )


def _say(line: str) -> None:
    print(" ".join(line.split()), file=sys.stderr, flush=True)
