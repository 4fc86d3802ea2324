"""What went wrong in a run, as sentences: one module per kind of trouble."""
