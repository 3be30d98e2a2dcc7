"""Whether an attack's numbers can be believed."""
