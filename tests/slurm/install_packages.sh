#!/usr/bin/env bash
# Install the Debian or Ubuntu packages that the tests need, where they are missing: SLURM, a
# compiler for the library that makes calls fail (tests/faults), strace to count calls, nginx as a
# server to fetch from, Java for Spark.
set -euo pipefail

packages=(slurm-wlm munge slurmdbd mariadb-server-core mariadb-client-core gcc libc6-dev strace
    nginx openjdk-17-jre-headless)
commands=(munged slurmctld slurmd slurmdbd sbatch sacct mariadbd mariadb-install-db mariadb gcc strace
    nginx java)

PATH="$PATH:/usr/local/sbin:/usr/sbin:/sbin"
missing=()
for command in "${commands[@]}"; do
    command -v "$command" >/dev/null || missing+=("$command")
done
[ -e /usr/include/dlfcn.h ] || missing+=(libc6-dev)
[ ${#missing[@]} -eq 0 ] && exit 0

as_root=()
if [ "$(id -u)" -ne 0 ]; then
    as_root=(sudo -n)
fi
if ! command -v apt-get >/dev/null || ! "${as_root[@]}" true 2>/dev/null; then
    echo "The tests need a SLURM, a compiler, strace, nginx and Java, and these are missing: ${missing[*]}" >&2
    echo "Install them, as root on Debian or Ubuntu: apt-get install ${packages[*]}" >&2
    echo "or run the tests that need no SLURM: make venv && .venv/bin/pytest -m 'not slurm'" >&2
    exit 1
fi

echo "Installing ${packages[*]}"
export DEBIAN_FRONTEND=noninteractive
"${as_root[@]}" apt-get update -qq
# Newer releases have a newer Java alone, under the name that is theirs to choose.
apt-cache show openjdk-17-jre-headless >/dev/null 2>&1 ||
    packages=("${packages[@]/openjdk-17-jre-headless/default-jre-headless}")
"${as_root[@]}" apt-get install -y -qq --no-install-recommends "${packages[@]}" >/dev/null
