"""Models, and what keeps them busy; knows nothing of runs, shards or stages' work.

Running:
    ordered   work done ahead in threads, its results in order: decoding beside the GPU
"""
