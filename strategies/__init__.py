"""The simulated users, one policy a file; trials name them (`hill_sim.registry`), nothing imports them directly."""
