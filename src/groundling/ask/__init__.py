"""The objects a user holds, and what one can ask them."""
