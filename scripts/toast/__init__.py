"""Training reference of toast-serve: a LLaMA decoder, the TOAST adapter that steers it, and what trains them."""
