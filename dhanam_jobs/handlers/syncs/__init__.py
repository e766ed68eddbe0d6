"""What each provider's answers become in the books: one file per provider, and the ground that they share."""
