"""The built-in domain: illustrated scenes that can be drawn, described and checked exactly."""
