#!/usr/bin/env bash
# Train on several processes: bash tools/dist_train.sh CONFIG PROCESSES [options of train.py]
#
# PROCESSES is the number per machine: one per GPU, or any number on a machine without GPUs
# (they then talk over gloo). For several machines run it on each of them with
#   NNODES=2 NODE_RANK=0 MASTER_ADDR=host-of-rank-0 bash tools/dist_train.sh ...
# PYTHON names the interpreter (default: python). PORT defaults to a free one on one machine,
# and to 29500 on several, which must agree.
#
# On 8 GPUs, a line for each family:
#   bash tools/dist_train.sh configs/cls/mgd/mgd_resnet18_resnet34_8xb32_in1k.py 8
#   bash tools/dist_train.sh configs/cls/nkd/nkd_resnet18_resnet34_8xb32_in1k.py 8
#   bash tools/dist_train.sh configs/cls/uskd/uskd_resnet18_8xb32_in1k.py 8
#   bash tools/dist_train.sh configs/cls/kd/kd_resnet18_resnet34_8xb32_in1k.py 8
#   bash tools/dist_train.sh configs/cls/vitkd/vitkd_deit-tiny_deit3-small_4xb256_in1k.py 8 --auto-scale-lr
set -euo pipefail
if [ "$#" -lt 2 ] || ! [[ "$2" =~ ^[1-9][0-9]*$ ]]; then
    sed -n '2,/^set /{/^set /d;s/^# \{0,1\}//p}' "${BASH_SOURCE[0]}" >&2
    exit 2
fi
config=$1
processes=$2
shift 2
source "$(dirname "${BASH_SOURCE[0]}")/_launch.sh"
launch train.py "$processes" "$config" --launcher pytorch "$@"
