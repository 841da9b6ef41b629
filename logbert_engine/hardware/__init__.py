"""What this machine has: processors, memory, accelerators, disk."""
