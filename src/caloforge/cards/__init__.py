"""The card of a trained model: what it is, what it was trained on, how good it is."""

from caloforge.cards.card import write_card

__all__ = ["write_card"]
