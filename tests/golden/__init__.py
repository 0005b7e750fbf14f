"""Files that generated output is held to. A missing one fails."""
