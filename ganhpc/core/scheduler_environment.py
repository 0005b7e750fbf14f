"""The environment of the schedulers' commands: variables by which a command asks for something else, or that belong to the job in which
the launcher is typed, are taken out; those that find the cluster stay."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from ganhpc.core.whoami import user_name

KEPT = (
    "SLURM_CONF",
    "SLURM_CONF_SERVER",
    "SLURM_JWT",
    "SLURM_SACK_JWKS",
    "SLURM_SACK_KEY",
    "PBS_CONF_FILE",
    "PBS_EXEC",
    "PBS_HOME",
    "PBS_SERVER",
    "PBS_DEFAULT",
    "GANHPC_CONFIG",
    "GANHPC_DATA",
    "GANHPC_JOBS",
    "GANHPC_RUNS",
    "GANHPC_ON",
)
"""They say where the cluster is and who may speak to it (OAR's OARCONFFILE and OARDIR have no underscore behind OAR), and what a user may
set for the launcher."""
_PATH = "SLURM_CONF"
"""Of these, the one with a path."""
OF_ANOTHER_PYTHON = ("PYTHONHOME", "PYTHONPLATLIBDIR", "PYTHONSTARTUP", "PYTHONINSPECT")
"""They send a Python to the library of another one, where it ends before its first line, or keep it from its end."""
TAKEN = (
    "SBATCH_",
    "SALLOC_",
    "SRUN_",
    "SQUEUE_",
    "SACCT_",
    "SCANCEL_",
    "SCONTROL_",
    "SINFO_",
    "SLURM_",
    "SLURMD_",
    "SPANK_",
    "_SLURM_",
    "OAR_",
    "OARSUB_",
    "OARSTAT_",
    "OARDEL_",
    "PBS_",
    "PMI_",
    "PMI2_",
    "PMIX_",
    "OMPI_",
    "OPAL_",
    "PRTE_",
    "PRRTE_",
    "ORTE_",
    "HYDRA_",
    "HYDI_",
    "MPIEXEC_",
    "MPIR_",
    "MPI_LOCAL",
    "PALS_",
    "TORCHELASTIC_",
    "I_MPI_HYDRA_",
    "I_MPI_PMI_",
    "GANHPC_",
    "SHELLOPTS",
    "BASHOPTS",
    *OF_ANOTHER_PYTHON,
)
"""Beginnings of names: requests to schedulers, parts of a job or of a training in which a command is typed, and modes of a shell or a Python in
which no script comes to its end."""
_OF_TORCHRUN = (
    "RANK",
    "LOCAL_RANK",
    "GROUP_RANK",
    "ROLE_RANK",
    "ROLE_NAME",
    "WORLD_SIZE",
    "LOCAL_WORLD_SIZE",
    "GROUP_WORLD_SIZE",
    "ROLE_WORLD_SIZE",
    "MASTER_ADDR",
    "MASTER_PORT",
)
"""Whole names, of what torchrun gives to each of its processes."""
_WORDS_OF_TORCHRUN = ("TORCHELASTIC_", "PET_")
"""Beginnings of names: of what torchrun gives besides, and of variables from which it reads options that are not typed."""
_OF_A_JOB = (
    *_OF_TORCHRUN,
    "CUDA_VISIBLE_DEVICES",
    "ROCR_VISIBLE_DEVICES",
    "HIP_VISIBLE_DEVICES",
    "ZE_AFFINITY_MASK",
    "GPU_DEVICE_ORDINAL",
)
"""Whole names, of what a job is given: taken out of what is submitted from inside one."""
_JOBS = ("SLURM_JOB_ID", "SLURM_JOBID", "OAR_JOB_ID", "PBS_JOBID", "TORCHELASTIC_RUN_ID", "GANHPC_RUN")
"""Variables of a job, of torchrun's processes, and of a user's program inside a training."""


OMP_TYPED = "GANHPC_OMP_NUM_THREADS"
"""OMP_NUM_THREADS as the user set it (empty: not at all): torchrun sets it to 1 for its children where it is unset."""


def taken(environment: Mapping[str, str]) -> list[str]:
    """The names in `environment` that a scheduler's command must not see."""
    inside = any(name in environment for name in _JOBS)
    return sorted(
        name for name in environment if name not in KEPT and (name.startswith(TAKEN) or (inside and name in _OF_A_JOB))
    )


def without_torchrun(environment: Mapping[str, str]) -> dict[str, str]:
    """`environment` without what makes a process one of several: a shell may keep it from another training, and a process that is alone would
    wait for the others."""
    return {
        name: value
        for name, value in environment.items()
        if name not in _OF_TORCHRUN and not name.startswith(_WORDS_OF_TORCHRUN)
    }


def for_commands(environment: Mapping[str, str] | None = None) -> dict[str, str]:
    """The environment of every command of a scheduler: the user's own, of this process's user, without what changes the answer."""
    own = dict(os.environ if environment is None else environment)
    typed = own.get(OMP_TYPED)
    for name in taken(own):
        del own[name]
    if typed is not None:
        own.pop("OMP_NUM_THREADS", None)
        own |= {"OMP_NUM_THREADS": typed} if typed else {}
    if own.get(_PATH):
        # Commands run in other folders than the one in which the user types.
        with suppress(OSError):
            own[_PATH] = str(Path(own[_PATH]).absolute())
    return {**own, "USER": user_name(), "LOGNAME": user_name()}


def shell_pattern() -> str:
    """The same choice as a pattern of `grep -E` over names, for scripts that a person runs."""
    return f"^({'|'.join(map(re.escape, TAKEN))})"
