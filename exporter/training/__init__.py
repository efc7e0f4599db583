"""Training: jobs, the processes that run them, what an interrupted run left, progress."""
