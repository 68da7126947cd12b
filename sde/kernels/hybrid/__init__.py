"""The loop of paths that stop, jump or are reset: lanes with clocks of their own."""

from . import record as record
