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
    sed -n '2,9s/^# \{0,1\}//p' "${BASH_SOURCE[0]}" >&2
    exit 2
fi
config=$1
checkpoint=$2
processes=$3
shift 3
nodes=${NNODES:-1}
if [ "$nodes" -gt 1 ]; then
    place=(--node_rank="${NODE_RANK:?NODE_RANK is needed with NNODES}"
           --master_addr="${MASTER_ADDR:?MASTER_ADDR is needed with NNODES}"
           --master_port="${PORT:-29500}")
elif [ -n "${PORT:-}" ]; then
    place=(--master_addr="${MASTER_ADDR:-127.0.0.1}" --master_port="$PORT")
else
    place=(--standalone) # picks a free port by itself
fi
export OMP_NUM_THREADS="${OMP_NUM_THREADS:-1}" # what torchrun would set, with a warning
exec "${PYTHON:-python}" -m torch.distributed.run --nnodes="$nodes" --nproc_per_node="$processes" \
    "${place[@]}" "$(dirname "${BASH_SOURCE[0]}")/test.py" "$config" "$checkpoint" --launcher pytorch "$@"
