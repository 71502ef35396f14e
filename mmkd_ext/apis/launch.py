"""Several processes without a GPU: what mmengine's launchers cannot do by themselves.

``mmengine.dist.init_dist`` calls ``torch.cuda.set_device`` whatever the backend, and the Runner
hands ``device_ids=[LOCAL_RANK]`` to DDP, which refuses that for modules on the CPU. So where
there is no accelerator the process group is made here, over gloo, before the Runner is built
(which then leaves it alone), and the model wrapper is told to name no device.
"""

from __future__ import annotations

import datetime
import os
import subprocess
from typing import TYPE_CHECKING

from mmkd_ext.apis.errors import UserError

if TYPE_CHECKING:
    from mmengine.config import Config

# What each launcher calls rank, world size and local rank.
_VARIABLES = {
    "pytorch": ("RANK", "WORLD_SIZE", "LOCAL_RANK"),
    "slurm": ("SLURM_PROCID", "SLURM_NTASKS", "SLURM_LOCALID"),
    "mpi": ("OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE", "OMPI_COMM_WORLD_LOCAL_RANK"),
}


def has_accelerator() -> bool:
    """Whether mmengine would train on anything but the CPU."""
    from mmengine.device import get_device

    return get_device() != "cpu"


def check_launcher(launcher: str) -> None:
    """Say clearly when a launcher was named, but did not start this process.

    Raises:
        UserError: The launcher's environment variables are missing.
    """
    if launcher == "none":
        return
    missing = [name for name in _VARIABLES[launcher][:2] if name not in os.environ]
    if missing:
        advice = {
            "pytorch": "start it by `bash tools/dist_train.sh CONFIG PROCESSES` or torchrun",
            "slurm": "start it by `bash tools/slurm_train.sh` or srun",
            "mpi": "start it by mpirun",
        }[launcher]
        raise UserError(
            f"--launcher {launcher} was given, but {', '.join(missing)} is not set: {advice}."
        )


def start_cpu_processes(cfg: Config) -> None:
    """Join the gloo process group of a CPU run and set the model wrapper for it.

    Does nothing for ``launcher='none'``, with a GPU, or when the group stands already (then
    only the wrapper is set).

    Args:
        cfg: The built config; ``model_wrapper_cfg`` is set in place.
    """
    launcher = cfg.get("launcher", "none")
    if launcher == "none" or has_accelerator():
        return
    import torch.distributed as dist

    if not dist.is_initialized():
        for name, source in zip(_VARIABLES["pytorch"], _VARIABLES[launcher], strict=True):
            os.environ[name] = os.environ.get(source, os.environ.get(name, "0"))
        if launcher == "slurm":
            os.environ.setdefault("MASTER_ADDR", _first_slurm_host())
        os.environ.setdefault("MASTER_ADDR", "127.0.0.1")
        os.environ.setdefault("MASTER_PORT", "29500")
        timeout = cfg.get("env_cfg", {}).get("dist_cfg", {}).get("timeout", 1800)
        dist.init_process_group("gloo", timeout=datetime.timedelta(seconds=timeout))
    wrapper = dict(
        type="MMDistributedDataParallel",
        broadcast_buffers=False,
        find_unused_parameters=cfg.get("find_unused_parameters", False),
    )
    wrapper.update(cfg.get("model_wrapper_cfg") or {})
    wrapper["device_ids"] = None
    cfg.model_wrapper_cfg = wrapper


def _first_slurm_host() -> str:
    nodes = os.environ.get("SLURM_NODELIST", "localhost")
    command = ["scontrol", "show", "hostnames", nodes]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()[0]
