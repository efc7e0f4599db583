"""What trees see of a 2-D Haar transform: coarse values, and the strength of details by place, scale and direction.

All filters are ±1 and all pooling is addition, so that whole-number pixels give whole-number features: float32 holds
them exactly (below 2 ** 24), torch and onnxruntime agree to the bit, and no threshold is met from the other side.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from exporter.errors import TrainingError
from exporter.images.networks.pixels import Frame

# Approximation, then horizontal, vertical and diagonal detail, as in exporter.images.networks.haar but not normalised.
_FILTERS = ((1, 1, 1, 1), (1, 1, -1, -1), (1, -1, 1, -1), (1, -1, -1, 1))
# Brightness, red against blue, green against both: trees cannot mix colours by themselves.
_OPPONENTS = ((1, 1, 1), (1, 0, -1), (-1, 2, -1))
_GRID = 4
"""Places per side at which details are added up."""


class HaarEnergies(nn.Module):
    """Image → float32 [n, `size`]: of each level the summed magnitudes of three details on a grid of at most 4 × 4;
    of the last level the signed coefficients too, and the approximation of it and of the level before.

    Pixels keep the scale of the input.
    """

    filters: Tensor
    opponents: Tensor

    def __init__(self, frame: Frame, levels: int) -> None:
        """Raises TrainingError when the image cannot be halved `levels` times."""
        super().__init__()
        if frame.height % 2**levels or frame.width % 2**levels:
            raise TrainingError(
                f"levels is {levels}, an image of {frame.width} × {frame.height} cannot be halved so often"
            )
        self.frame, self.levels = frame, levels
        bank = torch.tensor(_FILTERS, dtype=torch.float32).reshape(4, 1, 2, 2)
        self.register_buffer("filters", bank.repeat(frame.channels, 1, 1, 1))
        mixing = torch.tensor(_OPPONENTS, dtype=torch.float32) if frame.channels == 3 else torch.eye(frame.channels)
        self.register_buffer("opponents", mixing[:, :, None, None])
        blank = torch.zeros(1, *((frame.height, frame.width, frame.channels) if frame.channels_last else
                                 (frame.channels, frame.height, frame.width)))  # fmt: skip
        self.size = self(blank).shape[1]

    def forward(self, image: Tensor) -> Tensor:
        frame = self.frame
        planes = image.permute(0, 3, 1, 2) if frame.channels_last else image
        planes = planes.reshape(-1, frame.channels, frame.height, frame.width).to(torch.float32)
        found: list[Tensor] = []
        approximation = nn.functional.conv2d(planes, self.opponents)
        for level in range(self.levels):
            bands = nn.functional.conv2d(approximation, self.filters, stride=2, groups=frame.channels)
            bands = bands.reshape(-1, frame.channels, 4, *bands.shape[2:])
            details = bands[:, :, 1:].flatten(1, 2)
            approximation = bands[:, :, 0]
            found.append(_summed(details.abs()).flatten(1))
            if level >= self.levels - 2:
                found.append(approximation.flatten(1))
        return torch.cat([*found, details.flatten(1)], dim=1)


def _summed(planes: Tensor) -> Tensor:
    """[n, c, h, w] added up in blocks so that at most 4 × 4 are left; what does not fill a block is left out."""
    height, width = planes.shape[2:]
    block = (max(1, height // _GRID), max(1, width // _GRID))
    if block == (1, 1):
        return planes
    rows, columns = height // block[0], width // block[1]
    cut = planes[:, :, : rows * block[0], : columns * block[1]]
    return cut.reshape(-1, planes.shape[1], rows, block[0], columns, block[1]).sum(dim=(3, 5))
