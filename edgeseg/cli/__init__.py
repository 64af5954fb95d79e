"""The command line: one file a subcommand, tied together in `main`. Nothing imports this package."""
