"""Data sets of pictures and what people feel before them: readers of the published layouts, builders, storage."""
