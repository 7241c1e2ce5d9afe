"""The parts of an evaluation: tracks, oracles, scores, and what others have published."""
