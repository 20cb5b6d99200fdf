"""From the words on a command line, or a Python call, to checked configurations: Hydra's part."""
