"""Every error of the exporter; each message is one line for the person at the command line.

ExportError
├── RecipeError        a recipe, preset or `--set` is not valid; carries every problem found
├── DataError          rows that cannot be trained on, or cannot be split as asked
├── TrainingError      a member did not train: its loss is not finite
│   └── WorkerLost     another worker of its gang is gone: it may go well elsewhere
├── MembersFailed      trainings that gave no member, each with its reason, after all others were done
├── ConversionError    a member does not become an ONNX graph that the server would take
├── ParityError        a member's ONNX graph does not compute what the trained member does
├── AcceptanceError    the ensemble is worse on the test split than its recipe accepts
├── ParametersError    parameters that cannot be read, found, or put together
├── LedgerError        a ledger that cannot be read, or that a fusion cannot be fitted to
└── BundleError        ONNX files that do not make one ensemble; carries every problem found
"""

from __future__ import annotations

from collections.abc import Sequence


class ExportError(Exception):
    """Base of everything that the exporter raises on purpose."""


class _Listing(ExportError):
    """An error about one subject with all of its problems, one sentence each."""

    def __init__(self, subject: str, problems: Sequence[str]) -> None:
        self.subject = subject
        self.problems = tuple(problems)
        super().__init__(f"{subject}: " + "; ".join(self.problems))


class RecipeError(_Listing):
    """The recipe, its preset or an override is refused."""


class DataError(ExportError):
    """Data that cannot be read, is not what it says, or is too little for the split; names the rows."""


class TrainingError(ExportError):
    """A member's training ended without a usable model."""


class WorkerLost(TrainingError):
    """Another worker of the gang that trains a member died or fell silent."""


class MembersFailed(_Listing):
    """Trainings that failed, each with its member and reason; nothing is published."""


class ConversionError(ExportError):
    """A trained member could not be written as ONNX."""


class ParityError(ExportError):
    """ONNX and trained member disagree; names the rows, the largest difference and the tolerance."""


class AcceptanceError(_Listing):
    """Figures on the test split that miss what the recipe accepts; nothing is published."""


class BundleError(_Listing):
    """Members, inputs, outputs or golden rows that do not fit each other."""


class ParametersError(ExportError):
    """Trained parameters that are missing, damaged, or of another structure or origin than what is made of them."""


class LedgerError(ExportError):
    """A version without a ledger, a damaged one, or rows that its members cannot be compared on."""
