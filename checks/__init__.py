"""How we judge: one question a file, pure, strangers to each other."""
