"""Data sources, cleaning and splits. A recipe's `[data]` names its source."""

from exporter.data.cleaning import Cleaning, clean
from exporter.data.dataset import Dataset, Rows
from exporter.data.digits import Digits
from exporter.data.splits import Split, SplitSpec, split

DataSpec = Digits
"""Any source; a union once there is a second one."""

__all__ = ["Cleaning", "DataSpec", "Dataset", "Digits", "Rows", "Split", "SplitSpec", "clean", "split"]
