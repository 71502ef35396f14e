"""Train a tiny super-network for two steps, as one of several processes; see test_supernet.py."""

from __future__ import annotations

import sys

import torch
from mmengine.dist import get_rank
from mmengine.logging import MessageHub
from mmengine.model import MMDistributedDataParallel
from mmengine.optim import OptimWrapper

from mmkd_ext.distill import PassesDataParallel
from tests.flow.nas.test_supernet import distiller, pair_batch, supernet

STEPS = 2


def train(model, wrapper, rank, count):
    """Two steps of SGD on every ``count``-th pair from ``rank`` on; the weights afterwards."""
    optim_wrapper = OptimWrapper(torch.optim.SGD(model.parameters(), lr=0.05))
    for step in range(STEPS):
        MessageHub.get_current_instance().update_info("iter", step)
        (wrapper or model).train_step(pair_batch(step, rank, count), optim_wrapper)
    return {name: value.clone() for name, value in model.state_dict().items()}


def main(folder: str) -> None:
    torch.distributed.init_process_group("gloo")
    rank = get_rank()
    for kind, build in (("alone", supernet), ("distilled", distiller)):
        model = build().train()
        state = train(model, PassesDataParallel(module=model), rank, 2)
        torch.save(state, f"{folder}/{kind}_{rank}.pth")
    model = supernet().train()
    plain = MMDistributedDataParallel(module=model, find_unused_parameters=True)
    try:
        plain.train_step(
            pair_batch(0, rank, 2), OptimWrapper(torch.optim.SGD(model.parameters(), lr=0.05))
        )
    except RuntimeError as error:
        torch.save(str(error), f"{folder}/refused_{rank}.pth")
    torch.distributed.destroy_process_group()


if __name__ == "__main__":
    main(sys.argv[1])
