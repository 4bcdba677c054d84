"""What every adapter method does on small bases of every kind and on MiniLM, measured; the page that says so."""
