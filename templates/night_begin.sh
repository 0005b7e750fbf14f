set -euo pipefail
# A function of the user's own with the name of a command would run instead of it.
unset -f oarsub oarstat sbatch squeue sacct cat date env flock grep id mkdir sed tee touch tr
@{meeting}# Scripts and launchers of one user, one behind the other: each finds the jobs of those before it.
state=${XDG_STATE_HOME:-~/.local/state}/ganhpc lock=submit-@{scheduler}.lock
if ! mkdir -p "$state" || ! touch "$state/$lock"; then
    echo "nothing is submitted: export XDG_STATE_HOME=/a/folder/of/yours, then run this script again" >&2
    exit 1
fi
exec 9>>"$state/$lock"
flock 9
# Variables of a job, and those that the scheduler's commands take requests from, would change what is submitted.
for name in $(compgen -e | grep -E @{taken} | grep -vxE @{kept}); do export -n "${name?}"; done
# The checks below run in another folder.
case ${SLURM_CONF:-/} in /*) ;; *) SLURM_CONF=$PWD/$SLURM_CONF ;; esac
# The times below are those of the clock by which the night was planned.
@{clock}
USER=$(id -un 2>/dev/null) || USER=$(id -u) # in a container, a user may have no name
export USER LOGNAME="$USER"
