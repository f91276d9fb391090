"""The generator: checkpoints, sampler, engine and service. `engine.LocalGenerator` paints in process."""
