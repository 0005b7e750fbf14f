#!/bin/bash
# The night of Monday 23 November 2026: 2 jobs for Slurm under the policy student.
# Read it, then run it on the frontend: bash THIS_FILE
set -euo pipefail
# A function of the user's own with the name of a command would run instead of it.
unset -f oarsub oarstat sbatch squeue sacct cat date env flock grep id mkdir sed tee touch tr
# Scripts and launchers of one user, one behind the other: each finds the jobs of those before it.
state=${XDG_STATE_HOME:-~/.local/state}/ganhpc lock=submit-slurm.lock
if ! mkdir -p "$state" || ! touch "$state/$lock"; then
    echo "nothing is submitted: export XDG_STATE_HOME=/a/folder/of/yours, then run this script again" >&2
    exit 1
fi
exec 9>>"$state/$lock"
flock 9
# Variables of a job, and those that the scheduler's commands take requests from, would change what is submitted.
for name in $(compgen -e | grep -E '^(SBATCH_|SALLOC_|SRUN_|SQUEUE_|SACCT_|SCANCEL_|SCONTROL_|SINFO_|SLURM_|SLURMD_|SPANK_|_SLURM_|OAR_|OARSUB_|OARSTAT_|OARDEL_|PBS_|PMI_|PMI2_|PMIX_|OMPI_|OPAL_|PRTE_|PRRTE_|ORTE_|HYDRA_|HYDI_|MPIEXEC_|MPIR_|MPI_LOCAL|PALS_|TORCHELASTIC_|I_MPI_HYDRA_|I_MPI_PMI_|GANHPC_|SHELLOPTS|BASHOPTS|PYTHONHOME|PYTHONPLATLIBDIR|PYTHONSTARTUP|PYTHONINSPECT)' | grep -vxE 'SLURM_CONF|SLURM_CONF_SERVER|SLURM_JWT|SLURM_SACK_JWKS|SLURM_SACK_KEY|PBS_CONF_FILE|PBS_EXEC|PBS_HOME|PBS_SERVER|PBS_DEFAULT|GANHPC_CONFIG|GANHPC_DATA|GANHPC_JOBS|GANHPC_RUNS|GANHPC_ON'); do export -n "${name?}"; done
# The checks below run in another folder.
case ${SLURM_CONF:-/} in /*) ;; *) SLURM_CONF=$PWD/$SLURM_CONF ;; esac
# The times below are those of the clock by which the night was planned.
export TZ=Europe/Paris
USER=$(id -un 2>/dev/null) || USER=$(id -u) # in a container, a user may have no name
export USER LOGNAME="$USER"

asks=squeue
there() { # the id of the job with this tag, whether it waits, runs or has ended
    local of=(-u "$USER")
    [[ $USER == *[!0-9]* ]] || of=() # squeue takes no user without a name
    {
        # A folder's name may hold a line break, and so may another job's comment: each record begins with a character of its own.
        # Names are bytes of any encoding, which sed takes in the locale C only.
        squeue -h -a ${of[@]+"${of[@]}"} -t all -o $'\036%i|%k|%o' | tr '\n\036' ' \n' || exit 1
        # Jobs that have ended a while ago, where the cluster keeps accounts.
        sacct -X -n -P -S now-7days -o JobIDRaw,SubmitLine 2>/dev/null || true
    } | LC_ALL=C sed -n "s:^\([0-9][0-9]*\)[^|]*|.*/$1\.sh.*:\1:p; s:^\([0-9][0-9]*\)[^|]*|.*ganhpc\:$1\([| ].*\)\{0,1\}$:\1:p" | sed -n '1p' # scripts are named after their tags
}

taken_as() { # the number of the job, in what sbatch or a wrapper of it prints
    sed -n -e 's/^Submitted batch job \([0-9][0-9]*\).*/\1/p' -e 's/^ *\([0-9][0-9]*\)\(;[A-Za-z0-9_.-]*\)\{0,1\} *$/\1/p'
}

submit() { # run a command of the scheduler, unless a job with this tag is there; print the id of the job, and everything else for the eye
    local tag=$1 run=$2 latest=$3 behind=$4 id
    shift 4
    id=$(there "$tag") || {
        echo "$asks does not say whether this job is there already: nothing more is submitted; run this script again later" >&2
        return 1
    }
    if [ -n "$id" ]; then
        echo "submitted already, as job $id: not submitted again" >&2
        echo "$id"
        return
    fi
    if [ "$latest" -gt 0 ] && [ "$(date +%s)" -gt "$latest" ]; then
        echo "this plan is of the past: from now on, this job would end after the time that the rules leave it. Nothing more is submitted; plan anew with \`python launch.py night\`" >&2
        return 1
    fi
    # Jobs that have come since the plan may have taken this one's place: the queue is asked, as the launcher does. From the program's own
    # folder: a path with a colon is two in PYTHONPATH.
    # shellcheck disable=SC2086 # numbers of jobs, each a word of its own
    (cd /checkout && env PYTHONPATH=/checkout /launcher/python -m ganhpc.launch.submission.place_left "$run" "$tag" "$latest" $behind) >&2 || return 1
    id=$("$@" | tee >(cat >&2) | taken_as | sed -n 1p) || return 1
    [ -n "$id" ] || return 1
    # What the site made of it is read back, as the launcher does: a job that breaks the policy, or was taken too late, is taken back.
    # shellcheck disable=SC2086
    (cd /checkout && env PYTHONPATH=/checkout /launcher/python -m ganhpc.launch.submission.granted "$run" "$tag" "$id" "by=$latest" $behind) >&2 || return 1
    echo "$id"
}

# 1. Mon 23 Nov 19:01:00 - 20:01:00: segment 1 of default-256k-0123456789 (begin)
#    It starts at 19:01 because.
job1=$(submit beefcafe-1-00ff '/home/student/my runs/cifar/default-256k-0123456789' 0 "" sbatch --job-name=ganhpc --comment=ganhpc:beefcafe-1-00ff --time=1:00:00 --output=/dev/null --chdir=/ --requeue --signal=USR2@120 --begin=2026-11-23T19:01:00 --dependency=singleton '/home/student/my runs/cifar/default-256k-0123456789/jobs/beefcafe-1-00ff.sh')

# 2. Mon 23 Nov 20:01:00 - 21:01:00: segment 2 of default-256k-0123456789 (chain)
#    It starts at 20:01 because.
job2=$(submit beefcafe-2-00ff '/home/student/my runs/cifar/default-256k-0123456789' 0 "$job1" sbatch --dependency=singleton,afterany:"$job1" --job-name=ganhpc --comment=ganhpc:beefcafe-2-00ff --time=1:00:00 --output=/dev/null --chdir=/ --requeue --signal=USR2@120 '/home/student/my runs/cifar/default-256k-0123456789/jobs/beefcafe-2-00ff.sh')
# Left over: 60 s of began-1: no more fits.
