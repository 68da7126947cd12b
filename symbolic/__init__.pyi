import sympy

from symbolic import library as library
from symbolic.arrays.states import states as states
from symbolic.arrays.states import table as table
from symbolic.dynamics.equation import SDE as SDE
from symbolic.dynamics.jump import Jump as Jump
from symbolic.dynamics.path_functionals import integral as integral
from symbolic.dynamics.path_functionals import running as running
from symbolic.errors import InputError as InputError
from symbolic.predictions.broken_symmetry import Breaking as Breaking
from symbolic.predictions.charge import Charge as Charge
from symbolic.predictions.equilibrium import ChargeEquilibrium as ChargeEquilibrium
from symbolic.predictions.equilibrium import Equilibrium as Equilibrium
from symbolic.predictions.horizon import BreakingSizes as BreakingSizes
from symbolic.predictions.joint_equilibrium import JointEquilibrium as JointEquilibrium
from symbolic.predictions.label_noise import LabelNoise as LabelNoise
from symbolic.predictions.momentum import MomentumLaw as MomentumLaw
from symbolic.predictions.sharpness.sharpening import Sharpness as Sharpness
from symbolic.predictions.stationary.distribution import StationaryLaw as StationaryLaw
from symbolic.predictions.valley.relative import RelativeEquilibrium as RelativeEquilibrium
from symbolic.problem.base_distribution import Distribution as Distribution
from symbolic.problem.dataset import Dataset as Dataset
from symbolic.problem.distributions import Bernoulli as Bernoulli
from symbolic.problem.distributions import Laplace as Laplace
from symbolic.problem.distributions import Moments as Moments
from symbolic.problem.distributions import Normal as Normal
from symbolic.problem.distributions import Uniform as Uniform
from symbolic.problem.loss import Loss as Loss
from symbolic.problem.optimizer import SGD as SGD
from symbolic.problem.optimizer import cosine as cosine
from symbolic.problem.optimizer import warmup as warmup
from symbolic.problem.parameter import Parameter as Parameter
from symbolic.problem.parameter import parameters as parameters
from symbolic.symmetry.generators import Algebra as Algebra
from symbolic.symmetry.generators import Certificate as Certificate
from symbolic.symmetry.structure import Structure as Structure
from symbolic.theory import Theory as Theory
from symbolic.theory import derive as derive

T: sympy.Symbol
eta: sympy.Symbol
lambda_wd: sympy.Symbol
__version__: str
