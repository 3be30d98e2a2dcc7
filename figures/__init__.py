"""Pictures and one self-contained report, drawn from the records of `analysis`; and `portrait`, one
picture of an operator of one's own.
"""

from figures.spectral_portrait import portrait

__all__ = ["portrait"]
