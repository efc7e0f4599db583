"""Networks of the detectors: torch modules on any tensors of numbers, and on a table's categories."""
