"""The datasets of a collection and what their files hold."""
