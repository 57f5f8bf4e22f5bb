"""Models that are shared: where they lie, what they consist of, and how they are checked."""

from caloforge.training.sharing.checksums import Checksums
from caloforge.training.sharing.layout import CARD, FACTS, INDEX
from caloforge.training.sharing.transfer import (
    MovingAddressWarning,
    folder_of,
    is_address,
    pull,
    push,
)

__all__ = [
    "CARD",
    "FACTS",
    "INDEX",
    "Checksums",
    "MovingAddressWarning",
    "folder_of",
    "is_address",
    "pull",
    "push",
]
