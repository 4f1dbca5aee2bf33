"""What inside the model makes a feature fire: its token vectors, attributions and circuits."""
