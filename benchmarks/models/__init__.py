"""The bundles that are measured: made by edgeadapt itself, kept in `.models/`, made anew when its code changes."""
