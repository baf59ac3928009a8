"""Faults in numbers, by hand: `make chaos`. What a test tries a few times is tried here until chance has had its chance."""
