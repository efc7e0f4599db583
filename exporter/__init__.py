"""Data → members → training → fusion → conversion → parity → publication: makes ensembles that the server serves.

torch and scikit-learn are imported only where they work, so that `tutti publish` and `tutti export --list` start
without them.
"""
