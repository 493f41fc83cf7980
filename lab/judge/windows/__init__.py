"""What belongs to which stretch of a run: phases, fault windows, gaps, acts of others, known issues."""
