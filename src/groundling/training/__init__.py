"""The parts that the loop in train.py is made of: configuration, processes, optimiser, state, progress."""
