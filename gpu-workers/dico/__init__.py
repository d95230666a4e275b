"""DiCO fine-tuning of image captioners: objective, search, evaluators, update, export."""
