"""Linear operators on states: Jacobians, what is made of them, and their Schur form."""
