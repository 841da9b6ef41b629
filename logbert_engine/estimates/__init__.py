"""What a run will take on a machine: parameters, memory, time and money. Computed without torch, then measured."""
