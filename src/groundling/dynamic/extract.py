"""Cutting a dense subnet out of a supernet, and a cache of subnets bounded in bytes."""

import threading
from collections import OrderedDict

from groundling.models.supernet import Network, Supernet
from groundling.selection import Selection, check


def extract(model: Supernet, selection: Selection) -> Network:
    """The dense network of this Selection: no gates, no masks, BN folded, weights sliced.

    Its output equals the masked supernet's. ValueError if the Selection is of another supernet.
    """
    return model.net.extract(check(selection, model.units()))
