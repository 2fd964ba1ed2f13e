"""Adaptive and designed searches over trials: candidates proposed in generations, tried over seeds, told to Optuna."""
