"""The peers' servers: scripts, each run by the interpreter of its own virtual environment.

They import their framework and `fused.py` beside them, nothing of this project: none of it is installed there.
"""
