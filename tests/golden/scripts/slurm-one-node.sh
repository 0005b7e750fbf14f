#!/bin/bash
# A job of ganhpc for Slurm: segment 1 of default-256k-0123456789.
# It can be read, and submitted by hand: sbatch THIS_FILE
#SBATCH --job-name=ganhpc
#SBATCH --comment=ganhpc:beefcafe-1-00ff
#SBATCH --time=1:00:00
#SBATCH --output=/dev/null
#SBATCH --chdir=/
#SBATCH --requeue
#SBATCH --signal=USR2@120
#SBATCH --begin=2026-11-23T19:01:00
#SBATCH --deadline=2026-11-24T08:59:00
#SBATCH --dependency=singleton
#SBATCH --exclude=node7
#SBATCH --nodes=1
#SBATCH --ntasks-per-node=1
#SBATCH --gpus-per-node=1
#SBATCH --partition=gpu
#SBATCH --account='a team'
#SBATCH --qos=normal

# All that follows is said in the log of the run. A fifo or a device in its place would be waited for, or keep nothing, and a link leads out of the
# run: it makes way.
log='/home/student/my runs/cifar/default-256k-0123456789/log.txt'
if [ -L "$log" ] || { [ -e "$log" ] && [ ! -f "$log" ]; }; then command mv -f -- "$log" "$log.moved-$$"; fi
if [ ! -L "$log" ] && { [ -f "$log" ] || [ ! -e "$log" ]; }; then exec >>"$log" 2>&1; fi
unset log
unset -v PYTHONHOME PYTHONPLATLIBDIR PYTHONSTARTUP PYTHONINSPECT
setup_failed() { # "$1": the exit code. A failure inside of a file that a line reads, or of a function, is not the line's own.
    [ "${#BASH_SOURCE[*]}" -le 2 ] || return 0
    echo "Error: a line of" 'setup in the settings' "ended with exit code $1, so the job stops:" "$(sed -n "${BASH_LINENO[0]}p" "$0")" >&2
    [ "$1" -ne 99 ] || exit 1 # after 99 OAR may send the job again
    exit "$1"
}
trap 'setup_failed "$?"' ERR
cd /checkout || exit 1
module load conda
source ~/my env/bin/activate
trap - ERR
export GANHPC_SCHEDULER=slurm
export GANHPC_LAUNCH=beefcafe
export GANHPC_TAG=beefcafe-1-00ff
export PYTHONPATH=/checkout
export PYTHONUNBUFFERED=1
cd /checkout || exit 1
# Since Slurm 22.05 srun doesn't take this from sbatch.
[ -z "${SLURM_CPUS_PER_TASK:-}" ] || export SRUN_CPUS_PER_TASK="$SLURM_CPUS_PER_TASK"
# One task a node, which starts torchrun where there is more than one process: it hears the signals that srun passes on.
# The task has this script's variables, whatever --export says of the job's.
exec srun --export=ALL --ntasks-per-node=1 --kill-on-bad-exit=1 /opt/python3 -m ganhpc.node '/home/student/my runs/cifar/default-256k-0123456789' --walltime=3600 --tasks=1 --until=2026-11-24T08:59:00+01:00 --most=3600 --last

$ sbatch --job-name=ganhpc --comment=ganhpc:beefcafe-1-00ff --time=1:00:00 --output=/dev/null --chdir=/ --requeue --signal=USR2@120 --begin=2026-11-23T19:01:00 --deadline=2026-11-24T08:59:00 --dependency=singleton '/home/student/my runs/cifar/default-256k-0123456789/jobs/beefcafe-1-00ff.sh'
