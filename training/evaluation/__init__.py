"""What a model is worth: probes of its features, its reconstructions, its edits."""
