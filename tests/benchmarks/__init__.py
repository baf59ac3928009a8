"""What `make bench` measures. Figures, not promises: nothing here fails for being slow."""
