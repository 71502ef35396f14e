#!/usr/bin/env bash
# Test on several processes: bash tools/dist_test.sh CONFIG CHECKPOINT PROCESSES [options of test.py]
#
# PROCESSES is the number per machine: one per GPU, or any number on a machine without GPUs
# (they then talk over gloo). For several machines run it on each of them with
#   NNODES=2 NODE_RANK=0 MASTER_ADDR=host-of-rank-0 bash tools/dist_test.sh ...
# PYTHON names the interpreter (default: python). PORT defaults to a free one on one machine,
# and to 29500 on several, which must agree.
set -euo pipefail
if [ "$#" -lt 3 ] || ! [[ "$3" =~ ^[1-9][0-9]*$ ]]; then
    sed -n '2,/^set /{/^set /d;s/^# \{0,1\}//p}' "${BASH_SOURCE[0]}" >&2
    exit 2
fi
config=$1
checkpoint=$2
processes=$3
shift 3
source "$(dirname "${BASH_SOURCE[0]}")/_launch.sh"
launch test.py "$processes" "$config" "$checkpoint" --launcher pytorch "$@"
