"""What `make bench` measures. Figures, not tests: nothing here fails for being slow."""
