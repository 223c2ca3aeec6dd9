"""Fast decoding of records that look alike: a venue declares which values vary, and one kernel reads the forms learned so far."""
