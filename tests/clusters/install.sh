#!/bin/sh
# Install the schedulers that the tests marked `cluster` bring up. As root, on Debian 12. Nothing is started: the tests
# start private daemons of their own and end them. Safe to run again.
set -eu

packages='slurm-wlm munge slurmdbd mariadb-server
postgresql oar-server oar-server-pgsql oar-node oar-user oar-user-pgsql openssh-server libjson-perl libyaml-perl
python3 python3-venv git'

if [ "$(id -u)" -ne 0 ]; then
    echo 'install.sh: must run as root (it installs Debian packages)' >&2
    exit 1
fi
# shellcheck disable=SC2086  # a list of words
if ! dpkg-query --show --showformat='${db:Status-Abbrev}\n' $packages 2>&1 | grep -qvx 'ii '; then
    echo 'install.sh: all packages are there'
    exit 0
fi

# Debian asks this program before it starts a service: 101 means "don't". One that is there already is kept.
policy=/usr/sbin/policy-rc.d
if [ ! -e "$policy" ]; then
    trap 'rm -f "$policy"' EXIT
    printf '#!/bin/sh\nexit 101\n' >"$policy"
    chmod 755 "$policy"
fi

export DEBIAN_FRONTEND=noninteractive
# Another program (automatic upgrades of a fresh machine) may hold the package manager for a while.
apt-get update -q -o DPkg::Lock::Timeout=600
# shellcheck disable=SC2086
apt-get install -q -y -o DPkg::Lock::Timeout=600 --no-install-recommends $packages
