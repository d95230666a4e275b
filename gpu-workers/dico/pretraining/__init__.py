"""How the base version is made from scenes: tower, feature bank, captioner, evaluators, release."""
