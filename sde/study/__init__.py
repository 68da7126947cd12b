"""What a user calls. The only room, with the command line, that knows both packages."""

from sde.study.converging import convergence
from sde.study.expecting import expectation
from sde.study.running import simulate, train
from sde.study.specs import resume
from sde.study.verifying import verify

__all__ = ["convergence", "expectation", "resume", "simulate", "train", "verify"]
