"""What models can do, measured so that others can trust it: each metric has an interval and says what made it."""
