"""The tests mirror the package's tree; tiny seeded models stand in for real ones."""
