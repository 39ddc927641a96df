"""Running subnets outside of PyTorch: exported files and what executes them."""

from groundling.runtime.card import Card
from groundling.runtime.export import ExportError, export
from groundling.runtime.exported import ExportedGrounder

__all__ = ["Card", "ExportError", "ExportedGrounder", "export"]
