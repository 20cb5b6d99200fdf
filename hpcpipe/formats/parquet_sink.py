"""A staged output as the file that pyarrow writes parquet to."""

from hpcpipe.stage import Output


class ParquetSink:
    """What pyarrow wants of a file, over a staged output; closing it does nothing."""

    closed = False

    def __init__(self, output: Output) -> None:
        """Pass on to an output. Raises nothing."""
        self.write = output.write
        self.tell = output.tell

    def writable(self) -> bool:
        """True. Raises nothing."""
        return True

    def flush(self) -> None:
        """Do nothing: nothing is held back here. Raises nothing."""

    def close(self) -> None:
        """Do nothing: the output is closed by its owner. Raises nothing."""
