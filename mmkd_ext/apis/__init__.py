"""What the tools and notebooks call. Import the submodules; none is loaded from here."""
