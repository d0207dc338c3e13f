"""Files that the gateway keeps for a while, and links to them."""
