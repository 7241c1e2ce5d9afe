"""What is done to stems and mixtures while they are drawn."""
