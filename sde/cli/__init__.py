"""The command line: see `sde.cli.commands`."""
