"""How text becomes what a model reads: templates, tokenizers, tokens, hidden words, label words. Needs no torch."""
