"""Evaluators: how well a caption fits a picture."""
