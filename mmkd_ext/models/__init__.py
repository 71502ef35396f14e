"""Networks that upstream lacks, or has wrong; imported by the configs that use them."""
