"""The emotional memory: painted pictures whose feelings are known, kept for the judge to learn from (after EmoSym)."""
