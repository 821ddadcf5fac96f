"""poq on a GPU against the Python tools on the same card, with models of full size and random weights."""
