# For dist_train.sh and dist_test.sh: launch SCRIPT PROCESSES [arguments of SCRIPT]
launch() {
    local script=$1 processes=$2 nodes=${NNODES:-1} place
    shift 2
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
    exec "${PYTHON:-python}" -m torch.distributed.run --nnodes="$nodes" \
        --nproc_per_node="$processes" "${place[@]}" \
        "$(dirname "${BASH_SOURCE[0]}")/$script" "$@"
}
