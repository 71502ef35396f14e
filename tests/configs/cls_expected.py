"""What each classification config must do: image size, classes, tap shapes, published settings.

Written down from the papers' and the authors' settings, not from the configs.
"""

from __future__ import annotations

from typing import Any, NamedTuple

N = 4  # images in a made batch


class Expected(NamedTuple):
    """Of one config.

    Attributes:
        size: Of the made images.
        classes: Of the dataset.
        taps: For each loss what it gets: (student, teacher); the teacher's is None if unused.
        settings: For each loss its published hyper-parameters.
        student_weight: Of the student's own loss.
    """

    size: int
    classes: int
    taps: dict[str, tuple[Any, Any]] = {}
    settings: dict[str, dict[str, Any]] = {}
    student_weight: float = 1.0


def logits(classes):
    return ((N, classes), (N, classes))


def maps(student, teacher, side):
    return ((N, student, side, side), (N, teacher, side, side))


def self_logits(classes):
    return ((N, classes), None)


def tokens(student, teacher):
    """Three token maps each; 64 pixels are 4 x 4 patches, and the class token."""
    return ([(N, 17, student)] * 3, [(N, 17, teacher)] * 3)


VITKD = dict(loss_weight={"mimic": 3e-5, "generation": 3e-6}, mask_ratio=0.5, num_extra_tokens=1)
VIT_NKD = dict(temperature=1.0, gamma=1.0, soft_labels="argmax")
CNN_NKD = dict(temperature=1.0, gamma=1.5)
CIFAR_NKD = dict(temperature=3.0, gamma=3.5)
MGD = dict(mask="channel", mask_ratio=0.15, loss_weight=7e-5)
CIFAR_MGD = dict(mask="channel", mask_ratio=0.15, loss_weight=1.2e-3)
TF_NKD = dict(loss_weight=1.0, soft_labels="top2")
RAZOR_KD = dict(temperature=1.0, alpha=3.0, loss_weight=1.0)


def in1k(size=64, **losses):
    taps = {name: (given[0]) for name, given in losses.items()}
    return Expected(size, 1000, taps, {name: given[1] for name, given in losses.items()})


def cifar(classes, student_weight=1.0, **losses):
    taps = {name: (given[0]) for name, given in losses.items()}
    settings = {name: given[1] for name, given in losses.items()}
    return Expected(32, classes, taps, settings, student_weight)


def uskd(feature, channels, alpha=1.0, mu=0.005, classes=1000, tokens="class"):
    settings = dict(
        alpha=alpha,
        beta=0.1,
        mu=mu,
        rank="prob",
        soft_labels="top2",
        channels=channels,
        num_classes=classes,
        tokens=tokens,
    )
    return (({"logits": (N, classes), "feature": feature}, None), settings)


def uskd_cifar(classes):
    # Stage 3 of 4, at stride 4 of 32 pixels.
    return cifar(classes, uskd=uskd((N, 256, 8, 8), 256, alpha=0.1, mu=0.1, classes=classes))


L1000, L100, L10 = logits(1000), logits(100), logits(10)

EXPECTED: dict[str, Expected] = {
    # MGD
    "mgd_resnet18_resnet34_8xb32_in1k": in1k(mgd=(maps(512, 512, 2), MGD)),
    "mgd_mobilenet-v1_resnet50_8xb32_in1k": in1k(mgd=(maps(1024, 2048, 2), MGD)),
    "mgd_resnet18_resnet34_8xb16_cifar100": cifar(100, mgd=(maps(512, 512, 4), CIFAR_MGD)),
    # NKD
    "nkd_resnet18_resnet34_8xb32_in1k": in1k(nkd=(L1000, CNN_NKD)),
    "nkd_mobilenet-v1_resnet50_8xb32_in1k": in1k(nkd=(L1000, CNN_NKD)),
    "nkd_deit-tiny_deit3-small_4xb256_in1k": in1k(nkd=(L1000, VIT_NKD)),
    "nkd_deit-base_deit3-large_16xb64_in1k": in1k(nkd=(L1000, VIT_NKD)),
    "nkd_resnet18_resnet34_8xb16_cifar100": cifar(100, nkd=(L100, CIFAR_NKD)),
    "nkd_resnet18_resnet34_8xb16_cifar10": cifar(10, nkd=(L10, CIFAR_NKD)),
    # tf-NKD
    **{
        f"tf-nkd_{student}_in1k": in1k(size, tf_nkd=(self_logits(1000), TF_NKD))
        for student, size in {
            "resnet18_8xb32": 64,
            "resnet50_8xb32": 64,
            "mobilenet-v1_8xb32": 64,
            "mobilenet-v2_8xb32": 64,
            "shufflenet-v2_16xb64": 64,
            "swin-tiny_16xb64": 224,
            "swin-small_16xb64": 224,
        }.items()
    },
    # USKD: the second-to-last stage of a CNN, half-way through a ViT
    "uskd_resnet18_8xb32_in1k": in1k(uskd=uskd((N, 256, 4, 4), 256)),
    "uskd_resnet50_8xb32_in1k": in1k(uskd=uskd((N, 1024, 4, 4), 1024)),
    "uskd_resnet101_8xb32_in1k": in1k(uskd=uskd((N, 1024, 4, 4), 1024)),
    "uskd_mobilenet-v1_8xb32_in1k": in1k(uskd=uskd((N, 512, 4, 4), 512)),
    "uskd_mobilenet-v2_8xb32_in1k": in1k(uskd=uskd((N, 320, 2, 2), 320)),
    # Not the 484 of the released config, which crashed.
    "uskd_shufflenet-v2_16xb64_in1k": in1k(uskd=uskd((N, 464, 2, 2), 464)),
    "uskd_regnetx-1.6gf_8xb128_in1k": in1k(uskd=uskd((N, 408, 4, 4), 408)),
    "uskd_swin-tiny_16xb64_in1k": in1k(224, uskd=uskd((N, 196, 384), 384, tokens="mean")),
    "uskd_deit-tiny_4xb256_in1k": in1k(uskd=uskd((N, 17, 192), 192)),
    "uskd_resnet18_8xb16_cifar100": uskd_cifar(100),
    "uskd_resnet18_8xb16_cifar10": uskd_cifar(10),
    # ViTKD
    "vitkd_deit-tiny_deit3-small_4xb256_in1k": in1k(vitkd=(tokens(192, 384), VITKD)),
    "vitkd_deit-small_deit3-base_4xb256_in1k": in1k(vitkd=(tokens(384, 768), VITKD)),
    "vitkd_deit-base_deit3-large_16xb64_in1k": in1k(vitkd=(tokens(768, 1024), VITKD)),
    "vitkd-nkd_deit-tiny_deit3-small_4xb256_in1k": in1k(
        vitkd=(tokens(192, 384), VITKD), nkd=(L1000, VIT_NKD)
    ),
    "vitkd-nkd_deit-small_deit3-base_4xb256_in1k": in1k(
        vitkd=(tokens(384, 768), VITKD), nkd=(L1000, VIT_NKD)
    ),
    "vitkd-nkd_deit-base_deit3-large_16xb64_in1k": in1k(
        vitkd=(tokens(768, 1024), VITKD), nkd=(L1000, VIT_NKD)
    ),
    "vitkd-nkd_deit-tiny_deit-small_4xb256_in1k": in1k(
        vitkd=(tokens(192, 384), VITKD), nkd=(L1000, VIT_NKD)
    ),
    # The baselines that the methods above are compared with
    "kd_resnet18_resnet34_8xb32_in1k": in1k(kd=(L1000, RAZOR_KD)),
    "kd_mobilenet-v2_resnet50_8xb32_in1k": in1k(kd=(L1000, RAZOR_KD)),
    "kd_shufflenet-v2_resnet50_16xb64_in1k": in1k(kd=(L1000, RAZOR_KD)),
    "kd_resnet18_resnet34_8xb16_cifar100": cifar(
        100, 0.5, kd=(L100, dict(temperature=3.0, alpha=0.5))
    ),
    "kd_resnet18_resnet34_8xb16_cifar10": cifar(
        10, 0.5, kd=(L10, dict(temperature=3.0, alpha=0.5))
    ),
    "dkd_resnet18_resnet34_8xb32_in1k": in1k(
        dkd=(L1000, dict(temperature=1.0, alpha=1.0, beta=0.5))
    ),
    "dkd_resnet18_resnet34_8xb16_cifar100": cifar(
        100, dkd=(L100, dict(temperature=4.0, alpha=1.0, beta=8.0))
    ),
    "wsld_resnet18_resnet34_8xb32_in1k": in1k(wsld=(L1000, dict(temperature=2.0, alpha=2.5))),
    "wsld_resnet18_resnet34_8xb16_cifar100": cifar(
        100, wsld=(L100, dict(temperature=4.0, alpha=2.25))
    ),
    "srrl_resnet18_resnet34_8xb32_in1k": in1k(
        srrl=(maps(512, 512, 2), dict(loss_weight={"feature": 1.0, "logits": 1.0}))
    ),
    "srrl_resnet18_resnet34_8xb16_cifar100": cifar(
        100, srrl=(maps(512, 512, 4), dict(loss_weight={"feature": 1.0, "logits": 5.0}))
    ),
    # Networks trained alone
    "mobilenet-v1_8xb32_in1k": Expected(64, 1000),
    "resnet18_8xb16_cifar100": Expected(32, 100),
    "resnet34_8xb16_cifar100": Expected(32, 100),
    **{
        f"{network}_1xb64_cifar100": Expected(32, 100)
        for network in (
            "resnet8x4",
            "resnet20",
            "wrn16-2",
            "shufflenet-v1",
            "shufflenet-v2",
            "mobilenet-v2-half",
            "resnet32x4",
            "resnet56",
            "wrn40-2",
        )
    },
}
# The CIFAR-100 pairs of the literature: student and teacher -> beta of DKD
CIFAR_PAIRS = {
    "resnet8x4_resnet32x4": 8.0,
    "resnet20_resnet56": 2.0,
    "wrn16-2_wrn40-2": 6.0,
    "shufflenet-v1_wrn40-2": 8.0,
    "shufflenet-v2_resnet32x4": 8.0,
    "mobilenet-v2-half_wrn40-2": 8.0,
}
for pair, beta in CIFAR_PAIRS.items():
    EXPECTED |= {
        f"kd_{pair}_1xb64_cifar100": cifar(100, 0.1, kd=(L100, dict(temperature=4.0, alpha=0.9))),
        f"dkd_{pair}_1xb64_cifar100": cifar(
            100, dkd=(L100, dict(temperature=4.0, alpha=1.0, beta=beta))
        ),
        f"nkd_{pair}_1xb64_cifar100": cifar(100, nkd=(L100, CIFAR_NKD)),
    }
