"""Distillation: a policy that paints in a few steps what another paints in many, with the guidance in its weights."""
