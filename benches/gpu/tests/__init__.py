"""`python -m unittest discover -s benches/gpu/tests -t benches`, with benches, benches/peers and export on the path."""
