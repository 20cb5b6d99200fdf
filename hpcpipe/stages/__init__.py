"""The stages that come with hpcpipe, one file each; `hpcpipe.stage` is the contract."""
