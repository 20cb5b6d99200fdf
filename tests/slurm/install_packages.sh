#!/usr/bin/env bash
# Install the Debian or Ubuntu packages of SLURM that tests/slurm needs, where they are missing.
set -euo pipefail

packages=(slurm-wlm munge slurmdbd mariadb-server-core mariadb-client-core)
commands=(munged slurmctld slurmd slurmdbd sbatch sacct mariadbd mariadb-install-db mariadb)

PATH="$PATH:/usr/local/sbin:/usr/sbin:/sbin"
missing=()
for command in "${commands[@]}"; do
    command -v "$command" >/dev/null || missing+=("$command")
done
[ ${#missing[@]} -eq 0 ] && exit 0

as_root=()
if [ "$(id -u)" -ne 0 ]; then
    as_root=(sudo -n)
fi
if ! command -v apt-get >/dev/null || ! "${as_root[@]}" true 2>/dev/null; then
    echo "The tests need a SLURM, and these commands are missing: ${missing[*]}" >&2
    echo "Install them, as root on Debian or Ubuntu: apt-get install ${packages[*]}" >&2
    echo "or run the tests that need none: make venv && .venv/bin/pytest -m 'not slurm'" >&2
    exit 1
fi

echo "Installing ${packages[*]}"
export DEBIAN_FRONTEND=noninteractive
"${as_root[@]}" apt-get update -qq
"${as_root[@]}" apt-get install -y -qq --no-install-recommends "${packages[@]}" >/dev/null
