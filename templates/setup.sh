setup_failed() { # "$1": the exit code. A failure inside of a file that a line reads, or of a function, is not the line's own.
    [ "${#BASH_SOURCE[*]}" -le 2 ] || return 0
    echo "Error: a line of" @{settings} "ended with exit code $1, so the job stops:" "$(sed -n "${BASH_LINENO[0]}p" "$0")" >&2
    [ "$1" -ne 99 ] || exit 1 # after 99 OAR may send the job again
    exit "$1"
}
trap 'setup_failed "$?"' ERR
@{lines}
trap - ERR
