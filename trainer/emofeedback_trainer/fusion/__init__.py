"""Fusion: a policy that paints from a judge's emotion tokens what it paints from words (after EmoSym, ACM MM 2025)."""
