"""Answers: what the store counted, as records that people and programs read."""
