#!/usr/bin/env bash
# Train under slurm: bash tools/slurm_train.sh PARTITION JOB_NAME CONFIG [options of train.py]
#
# GPUS processes in all (default 8), GPUS_PER_NODE on each machine (default the lesser of 8 and
# GPUS; 0 asks slurm for none), CPUS_PER_TASK cores each (default 5). SRUN_ARGS goes to srun,
# PYTHON names the interpreter (default: python), MASTER_PORT the port.
#
# 8 and 16 GPUs:
#   bash tools/slurm_train.sh PARTITION nkd configs/cls/nkd/nkd_resnet18_resnet34_8xb32_in1k.py
#   GPUS=16 bash tools/slurm_train.sh PARTITION swin configs/cls/uskd/uskd_swin-tiny_16xb64_in1k.py
set -euo pipefail
if [ "$#" -lt 3 ]; then
    sed -n '2,/^set /{/^set /d;s/^# \{0,1\}//p}' "${BASH_SOURCE[0]}" >&2
    exit 2
fi
partition=$1
job_name=$2
config=$3
shift 3
gpus=${GPUS:-8}
per_node=${GPUS_PER_NODE:-$((gpus < 8 ? gpus : 8))}
resources=(--ntasks="$gpus" --cpus-per-task="${CPUS_PER_TASK:-5}" --kill-on-bad-exit=1)
if [ "$per_node" -gt 0 ]; then
    resources+=(--gres="gpu:$per_node" --ntasks-per-node="$per_node")
fi
export MASTER_PORT="${MASTER_PORT:-$((20000 + RANDOM % 10000))}"
# SRUN_ARGS is a list of words on purpose.
# shellcheck disable=SC2086
exec srun -p "$partition" --job-name="$job_name" "${resources[@]}" ${SRUN_ARGS:-} \
    "${PYTHON:-python}" -u "$(dirname "${BASH_SOURCE[0]}")/train.py" "$config" --launcher slurm "$@"
