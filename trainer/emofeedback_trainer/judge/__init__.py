"""The judge learns: supervised fine-tuning, then GRPO with the rewards of EmoFeedback^2 and EEmo-Logic."""
