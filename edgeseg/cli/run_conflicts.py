"""Options of `edgeseg run` that do not go together, said before anything is opened."""

from __future__ import annotations

import argparse


def check_options(args: argparse.Namespace) -> None:
    """Raise UsageError for outputs that get in each other's way, or options without what they belong to.

    InputError for a background that cannot be read.
    """
    from edgeseg.errors import UsageError
    from edgeseg.runtime.background import Scene

    outputs = {"--stats": args.stats, "--jsonl": args.jsonl, "--save": args.save}
    piped = [f"{option} -" for option, target in outputs.items() if str(target) == "-"]
    if len(piped) > 1:
        raise UsageError("two outputs cannot share standard output", " ".join(piped), "Give one of them a file")
    if args.jsonl_shapes and not args.jsonl:
        raise UsageError("shapes are written into JSON lines", f"--jsonl-shapes {args.jsonl_shapes}", "Add --jsonl OUT")
    if args.background is not None:
        Scene.parse(args.background)  # said before a camera is opened
        if not (args.save or args.show or args.virtual_camera):
            todo = "Add --save, --show or --virtual-camera"
            raise UsageError("nothing shows the background", f"--background {args.background}", todo)
    words = [camera.source for camera in args.sources]
    if words.count("-") > 1:
        raise UsageError("standard input is one source", " ".join(words), "Give - once")
    for wanted, what, option in ((args.show, "window", "--show"), (args.virtual_camera, "camera", "--virtual-camera")):
        if len(args.sources) > 1 and wanted:
            raise UsageError(f"a {what} shows one source", f"{len(args.sources)} sources", f"Leave {option} out")
    for option, path in (("--save", args.save), ("--masks", args.masks)):
        if len(args.sources) > 1 and path and not path.name:
            todo = "Give one to which each source's number can be added"
            raise UsageError(f"{option} has no name", path, todo)
    if len(args.sources) > 1 and piped and piped[0] != "--stats -":
        raise UsageError("several sources cannot share standard output", piped[0], "Give a file; each gets its own")
