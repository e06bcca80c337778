"""Every figure, and the report that shows them."""
