"""Training runs as the trainer service keeps them: on disk, as processes of their own, in a queue."""
