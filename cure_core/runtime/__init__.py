"""What every computation here runs on: processes, memory, number types, randomness, progress."""
