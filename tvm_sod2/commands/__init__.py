"""What the command line does, one module for each command; TVM is imported only inside them."""
