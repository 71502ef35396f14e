"""Converters of datasets that upstream lacks; ``tools/dataset_converters`` calls them."""
