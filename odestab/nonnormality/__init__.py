"""How far an operator is from normal, and what that allows: range, pseudospectra, exponentials."""
