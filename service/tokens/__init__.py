"""A picture in the model's terms, without any server: pixels, tokens, edits, heat maps, token files."""
