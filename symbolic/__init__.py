"""Exact derivation: losses, symmetries, charges, their noise and equilibria.

`Loss` holds a loss with the distribution of its data (`Normal`, `Uniform`, `Bernoulli`, `Moments`, `Dataset`), `derive`
finds what it conserves and what the noise of `SGD` does to that, `SDE` holds any stochastic differential equation.
`library` has named losses; `T`, `eta` and `lambda_wd` are the symbols of temperature, learning rate and weight decay.
Ensembles and verification are in `sde`.
"""

from symbolic.lazy import attach

__getattr__, __dir__, __all__ = attach(
    "symbolic",
    {
        "Algebra": "symbolic.symmetry.generators",
        "Bernoulli": "symbolic.problem.distributions",
        "Breaking": "symbolic.predictions.broken_symmetry",
        "BreakingSizes": "symbolic.predictions.horizon",
        "Certificate": "symbolic.symmetry.generators",
        "Charge": "symbolic.predictions.charge",
        "ChargeEquilibrium": "symbolic.predictions.equilibrium",
        "Dataset": "symbolic.problem.dataset",
        "Distribution": "symbolic.problem.base_distribution",
        "Equilibrium": "symbolic.predictions.equilibrium",
        "InputError": "symbolic.errors",
        "JointEquilibrium": "symbolic.predictions.joint_equilibrium",
        "Laplace": "symbolic.problem.distributions",
        "LabelNoise": "symbolic.predictions.label_noise",
        "Loss": "symbolic.problem.loss",
        "Moments": "symbolic.problem.distributions",
        "MomentumLaw": "symbolic.predictions.momentum",
        "Normal": "symbolic.problem.distributions",
        "Parameter": "symbolic.problem.parameter",
        "RelativeEquilibrium": "symbolic.predictions.valley.relative",
        "Jump": "symbolic.dynamics.jump",
        "integral": "symbolic.dynamics.path_functionals",
        "running": "symbolic.dynamics.path_functionals",
        "SDE": "symbolic.dynamics.equation",
        "SGD": "symbolic.problem.optimizer",
        "Sharpness": "symbolic.predictions.sharpness.sharpening",
        "StationaryLaw": "symbolic.predictions.stationary.distribution",
        "Structure": "symbolic.symmetry.structure",
        "T": "symbolic.noise.drift:TEMPERATURE",
        "Theory": "symbolic.theory",
        "Uniform": "symbolic.problem.distributions",
        "cosine": "symbolic.problem.optimizer",
        "derive": "symbolic.theory",
        "eta": "symbolic.noise.drift:LEARNING_RATE",
        "lambda_wd": "symbolic.noise.drift:WEIGHT_DECAY",
        "library": "symbolic.library:",
        "parameters": "symbolic.problem.parameter",
        "states": "symbolic.arrays.states",
        "table": "symbolic.arrays.states",
        "warmup": "symbolic.problem.optimizer",
    },
)
