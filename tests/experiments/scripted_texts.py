"""Generation that writes what a script says, for what is shown of steered texts."""

from sagescope.sae.generation.gates import Presence
from sagescope.sae.generation.texts import KINDS, Steered, Step, Written


class Scripted:
    """Writes the same words whatever is asked, and remembers the orders."""

    def __init__(self, opened=True):
        self.orders, self.opened = [], opened

    async def steered(self, feature, order, watch=lambda _: None):
        self.orders.append(order)
        watch(order.tokens)
        steps = (Step(4, 0.95, "NORMAL", 1.0), Step(8, 0.96, "ELEVATED", 1.5))
        texts = [
            Written(kind, (" a", " boat\x1b[2J"), (0.0, 3.0), 0.5, kind != "unsteered", steps)
            for kind in KINDS
        ]
        opened = self.opened if order.gated else None
        presence = Presence(0.6, 3.0)
        return Steered(feature, order, 3.0, presence, 3.0, 0.9, opened, tuple(texts))
