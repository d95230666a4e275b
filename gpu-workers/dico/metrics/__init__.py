"""Captioning metrics as pure functions; lists go together by position, one entry an image.

`candidates` holds one caption of each image, `human_captions` those that people wrote of it. Where
a function compares words, both are lists of tokens from `tokenise`.
"""
