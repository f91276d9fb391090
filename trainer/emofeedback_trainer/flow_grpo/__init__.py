"""Flow-GRPO: the generator learns from the judge's scores (EmoFeedback^2, section 3.2)."""
