"""Pictures and one self-contained report, drawn from the records of `analysis`."""
