"""Vector fields of layers, their linearisations, and a model's trajectory through them."""
