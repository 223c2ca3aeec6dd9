"""What a program of one's own calls: the book between the records of captures, features of it, and the output as tables."""
