"""FlowNAS: search of an optical flow network's encoder.

Source: Lin et al., "FlowNAS: Neural Architecture Search for Optical Flow Estimation", IJCV 132(4),
2024, arXiv:2207.01271. Written from a description of the published code; the super-network, the
space and the two published architectures are its own.
"""

from .calibration import calibrating
from .distance import FlowFeatureDistance
from .elastic_encoder import ElasticFlowEncoder
from .export import export_config, export_encoder, export_network
from .genotype import FLOWNAS_K, FLOWNAS_S, Genotype
from .network import check_network, elastic_encoders, rest_params, set_genotype
from .space import FlowNASSpace
from .state_dict import rename_published_keys
from .static_encoder import StaticFlowEncoder
from .supernet import FlowNASSupernet

__all__ = [
    "FLOWNAS_K",
    "FLOWNAS_S",
    "ElasticFlowEncoder",
    "FlowFeatureDistance",
    "FlowNASSpace",
    "FlowNASSupernet",
    "Genotype",
    "StaticFlowEncoder",
    "calibrating",
    "check_network",
    "elastic_encoders",
    "export_config",
    "export_encoder",
    "export_network",
    "rename_published_keys",
    "rest_params",
    "set_genotype",
]
