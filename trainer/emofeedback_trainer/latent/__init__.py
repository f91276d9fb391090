"""Reasoning tokens: a judge learns to reason about feelings in a few states of its own (after EmoSym, ACM MM 2025)."""
