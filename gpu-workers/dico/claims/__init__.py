"""What the paper claims of DiCO, tried on scenes: `python -m dico claims`."""
