"""Reading images: from a reference to facts about them, each with its evidence."""
