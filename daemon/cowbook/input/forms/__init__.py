"""Records that look alike: a venue declares which values vary, and one kernel reads what has been seen before."""
