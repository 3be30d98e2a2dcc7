"""Hugging Face encoders: checkpoint → encoder, encoder and tokens → Trajectory.

transformers, slow to import, is known in this room alone.
"""

from odestab.encoder_layers.checkpoint import load_encoder
from odestab.encoder_layers.classifier import load_classifier
from odestab.encoder_layers.embedded_model import embedded_model_folder
from odestab.encoder_layers.families import position_limit, takes_padding
from odestab.encoder_layers.readout import readout
from odestab.encoder_layers.tracing import trace
from odestab.encoder_layers.weight_files import stored_types, weight_files

__all__ = [
    "embedded_model_folder",
    "load_classifier",
    "load_encoder",
    "position_limit",
    "readout",
    "stored_types",
    "takes_padding",
    "trace",
    "weight_files",
]
