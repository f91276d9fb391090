"""The generator: checkpoints, sampler, policies and service. `local.LocalGenerator` is the one in process."""
