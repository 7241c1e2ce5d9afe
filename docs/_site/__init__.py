"""Extensions of Sphinx that this site needs, each in a file."""
