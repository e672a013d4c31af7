"""Strings only: tokenizer, chat template, detokenizer, stop strings. Never imports the engine."""
