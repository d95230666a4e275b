"""Visual towers of public models; the built-in one is `dico.tower`."""
