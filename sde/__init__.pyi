from sde.api.calibration import calibrate as calibrate
from sde.api.claims import Claim as Claim
from sde.api.comparison import compare as compare
from sde.api.convergence_study import convergence as convergence
from sde.api.expectations import expectation as expectation
from sde.api.plotting import plot as plot
from sde.api.simulation import simulate as simulate
from sde.api.spec_runs import resume as resume
from sde.api.time_steps import StepWarning as StepWarning
from sde.api.training import train as train
from sde.api.verifying import verify as verify
from sde.engine.dataset import ExplosionWarning as ExplosionWarning
from sde.engine.dataset import UndefinedWarning as UndefinedWarning
from sde.engine.ensemble import CheckpointWarning as CheckpointWarning
from sde.engine.interruption import InterruptedWarning as InterruptedWarning
from sde.estimators.convergence_order import Convergence as Convergence
from sde.estimators.estimate import Expectation as Expectation
from sde.estimators.estimate import Level as Level
from sde.estimators.multilevel import VarianceWarning as VarianceWarning
from sde.reports.report import Report as Report
from sde.storage.module_cache import CacheWarning as CacheWarning
from sde.verification.setting import Margins as Margins
from sde.verification.verdicts import Verdict as Verdict
from symbolic.dynamics.equation import SDE as SDE
from symbolic.errors import InputError as InputError
from symbolic.problem.optimizer import SGD as SGD

__version__: str
