"""Ensembles of SGD and of its SDE, compiled, and the verification of a derived theory against them.

`simulate` integrates SGD's SDE, or any other; `train` runs discrete SGD; `plot` draws them; `verify` holds a derived
theory against both; `compare` says how far SGD is from its SDEs; `expectation` and `convergence` estimate by levels and
measure orders; `resume` continues a checkpoint. Losses, their data and the theory come from `symbolic`.
"""

from symbolic.lazy import attach

__getattr__, __dir__, __all__ = attach(
    "sde",
    {
        "BrokenPoolWarning": "sde.engine.schedulers.scheduler",
        "CacheWarning": "sde.storage.module_cache",
        "CheckpointWarning": "sde.engine.ensemble",
        "Claim": "sde.api.claims",
        "Convergence": "sde.estimators.convergence_order",
        "Expectation": "sde.estimators.estimate",
        "ExplosionWarning": "sde.engine.dataset",
        "InputError": "symbolic.errors",
        "InterruptedWarning": "sde.engine.interruption",
        "Jump": "symbolic.dynamics.jump",
        "Level": "sde.estimators.estimate",
        "LostChunksWarning": "sde.engine.ensemble",
        "Margins": "sde.verification.setting",
        "Report": "sde.reports.report",
        "SDE": "symbolic.dynamics.equation",
        "SGD": "symbolic.problem.optimizer",
        "Sensitivity": "sde.estimators.estimate",
        "StepWarning": "sde.api.time_steps",
        "UndefinedWarning": "sde.engine.dataset",
        "VarianceWarning": "sde.estimators.multilevel",
        "Verdict": "sde.verification.verdicts",
        "calibrate": "sde.api.calibration",
        "compare": "sde.api.comparison",
        "convergence": "sde.api.convergence_study",
        "expectation": "sde.api.expectations",
        "plot": "sde.api.plotting",
        "resume": "sde.api.spec_runs",
        "sensitivities": "sde.api.sensitivities",
        "simulate": "sde.api.simulation",
        "train": "sde.api.training",
        "verify": "sde.api.verifying",
    },
)
