"""The generator: checkpoints, sampler, engine and service. `engine.GeneratorEngine` paints in process."""
