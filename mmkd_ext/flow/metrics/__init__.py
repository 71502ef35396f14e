"""How far predicted flow is from the truth."""
