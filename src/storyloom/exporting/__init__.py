"""What leaves: trained models in formats that need neither run nor data."""

from storyloom.exporting.write import EXPORTERS, export

__all__ = ["EXPORTERS", "export"]
