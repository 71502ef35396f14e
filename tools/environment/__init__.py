"""The set-up behind `tools/setup_env.py`. Standard library only: it runs before all else."""
